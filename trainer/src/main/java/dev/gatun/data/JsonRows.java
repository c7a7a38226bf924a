package dev.gatun.data;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.core.io.JsonEOFException;
import dev.gatun.data.JsonRow.Column;
import dev.gatun.data.JsonRow.Kind;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Reads the rows of JSON data files, one after another. The first byte that is no white space
 * decides the format, not the file's name: {@code [} begins one array of objects, anything else is
 * JSON lines (one object per line, blank lines skipped).
 *
 * <p>Strict where other readers guess: bytes are well-formed UTF-8 (a byte order mark is skipped),
 * names in an object are unique, a line holds one object and nothing else, nesting stops at {@value
 * #MAX_DEPTH}. Every violation is a {@link DataException} with file, line and byte. JSON lines are
 * streamed; an array is held in memory while it is read.
 */
public final class JsonRows implements AutoCloseable {
  /** Levels of lists and objects in one row. */
  static final int MAX_DEPTH = 200;

  /** The longest row of JSON lines; a longer one is a file that has no line ends. */
  static final int MAX_LINE_BYTES = 64 << 20;

  /** The largest file that is one array: what a Java array holds. */
  private static final int MAX_ARRAY_BYTES = Integer.MAX_VALUE - 8;

  private static final byte[] BYTE_ORDER_MARK = {(byte) 0xEF, (byte) 0xBB, (byte) 0xBF};

  private static final JsonFactory JSON =
      new JsonFactoryBuilder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .disable(JsonFactory.Feature.CHARSET_DETECTION)
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(MAX_DEPTH)
                  .maxStringLength(MAX_LINE_BYTES)
                  .build())
          .build();

  /** Where the bytes of a file come from. */
  interface Opener {
    InputStream open(Path file) throws IOException;
  }

  private final Iterator<Path> files;
  private final Opener opener;
  private @Nullable Rows rows;

  private JsonRows(List<Path> files, Opener opener) {
    this.files = files.iterator();
    this.opener = opener;
  }

  /** Begins before the first row of the first file. */
  public static JsonRows open(List<Path> files) {
    return open(files, Files::newInputStream);
  }

  static JsonRows open(List<Path> files, Opener opener) {
    return new JsonRows(files, opener);
  }

  /**
   * The next row; null behind the last row of the last file.
   *
   * @throws BadRowException where this row is unusable and the call can be repeated for the next
   * @throws DataException where the rest of the file is unusable
   */
  public @Nullable JsonRow next() {
    while (true) {
      if (rows == null) {
        if (!files.hasNext()) {
          return null;
        }
        rows = Rows.of(files.next(), opener);
      }
      JsonRow row = rows.next();
      if (row != null) {
        return row;
      }
      close();
    }
  }

  @Override
  public void close() {
    if (rows != null) {
      rows.close();
      rows = null;
    }
  }

  /** The rows of one file. */
  private sealed interface Rows permits Lines, Elements {
    static Rows of(Path file, Opener opener) {
      Lines lines = Lines.open(file, opener);
      try {
        if (!lines.beginsWith('[')) {
          return lines;
        }
        lines.close();
        return Elements.read(file, opener);
      } catch (IOException e) {
        lines.close();
        throw unreadable(file, e);
      } catch (DataException e) {
        lines.close();
        throw e;
      }
    }

    @Nullable JsonRow next();

    void close();
  }

  /** JSON lines, streamed through one growing buffer that holds at least the present line. */
  private static final class Lines implements Rows {
    private final Path file;
    private final InputStream in;
    private byte[] buffer = new byte[1 << 16];
    // buffer[begin, end) is read from the file and not yet returned as a line.
    private int begin;
    private int end;
    private long bufferOffset; // of buffer[0] in the file
    private long line;

    private Lines(Path file, InputStream in) {
      this.file = file;
      this.in = in;
    }

    static Lines open(Path file, Opener opener) {
      try {
        return new Lines(file, opener.open(file));
      } catch (IOException e) {
        throw unreadable(file, e);
      }
    }

    /**
     * Skips the byte order mark and tells whether the first byte that is no white space is this
     * one. Called once, before {@link #next}.
     */
    boolean beginsWith(char c) throws IOException {
      while (end < BYTE_ORDER_MARK.length && fill()) {}
      if (end >= 2 && isUtf16(buffer[0], buffer[1])) {
        throw new DataException(
            RowPlace.wholeFile(file),
            "is UTF-16, expected UTF-8: convert it with iconv -f UTF-16 -t UTF-8");
      }
      begin = afterByteOrderMark(buffer, end);
      for (int i = 0; begin + i < end || (i < MAX_LINE_BYTES && fill()); i++) {
        byte b = buffer[begin + i];
        if (!isWhiteSpace(b) && b != '\n') {
          return b == c;
        }
      }
      return false;
    }

    @Override
    public @Nullable JsonRow next() {
      while (true) {
        int length;
        try {
          length = lineLength();
        } catch (IOException e) {
          throw unreadable(file, e);
        }
        if (length < 0) {
          return null;
        }
        line++;
        int from = begin;
        int to = begin + length;
        begin = Math.min(to + 1, end);
        while (from < to && isWhiteSpace(buffer[from])) {
          from++;
        }
        if (from < to) {
          return row(from, to);
        }
      }
    }

    private JsonRow row(int from, int to) {
      RowPlace place = new RowPlace(file, line, bufferOffset + from);
      int malformed = firstMalformed(buffer, from, to);
      if (malformed >= 0) {
        throw new BadRowException(
            new RowPlace(file, line, bufferOffset + malformed), notUtf8(buffer[malformed]));
      }
      try (JsonParser parser = JSON.createParser(buffer, from, to - from)) {
        return row(parser, place);
      } catch (IOException e) {
        throw unreadable(file, e);
      }
    }

    private static JsonRow row(JsonParser parser, RowPlace place) throws IOException {
      try {
        JsonToken first = parser.nextToken();
        if (first != JsonToken.START_OBJECT) {
          throw new BadRowException(
              place,
              "the line holds "
                  + words(first)
                  + ", expected one JSON object per line (or one array of objects)");
        }
        JsonRow row = object(parser, place);
        if (parser.nextToken() != null) {
          throw new BadRowException(
              at(parser.currentTokenLocation(), place),
              "more text behind the row's object, expected the end of the line");
        }
        return row;
      } catch (JsonEOFException e) {
        throw new BadRowException(
            at(failure(e, parser), place),
            "the line ends inside of its JSON object: JSON lines hold one whole object per line",
            e);
      } catch (JsonProcessingException e) {
        throw new BadRowException(at(failure(e, parser), place), notJson(e), e);
      }
    }

    private static RowPlace at(JsonLocation location, RowPlace row) {
      long offset = Math.max(0, location.getByteOffset());
      return new RowPlace(row.file(), row.line(), row.byteOffset() + offset);
    }

    /** Bytes from {@code begin} to the line's end or the file's; -1 behind the last line. */
    private int lineLength() throws IOException {
      int i = begin;
      while (true) {
        while (i < end && buffer[i] != '\n') {
          i++;
        }
        if (i < end) {
          return i - begin;
        }
        if (i - begin > MAX_LINE_BYTES) {
          throw new DataException(
              new RowPlace(file, line + 1, bufferOffset + begin),
              "the line is longer than 64 MiB: JSON lines hold one object per line");
        }
        int scanned = i - begin;
        if (!fill()) {
          return begin == end ? -1 : end - begin;
        }
        i = begin + scanned;
      }
    }

    /** Reads more bytes behind {@code end}, making room as needed; false at the file's end. */
    private boolean fill() throws IOException {
      if (end == buffer.length) {
        byte[] target = begin > 0 ? buffer : new byte[Math.multiplyExact(buffer.length, 2)];
        System.arraycopy(buffer, begin, target, 0, end - begin);
        bufferOffset += begin;
        end -= begin;
        begin = 0;
        buffer = target;
      }
      int count = in.read(buffer, end, buffer.length - end);
      end += Math.max(0, count);
      return count > 0;
    }

    @Override
    public void close() {
      try {
        in.close();
      } catch (IOException e) {
        throw unreadable(file, e);
      }
    }
  }

  /** The elements of one JSON array. */
  private static final class Elements implements Rows {
    private final Path file;
    private final JsonParser parser;
    private final int firstByte; // 3 behind a byte order mark

    private Elements(Path file, JsonParser parser, int firstByte) {
      this.file = file;
      this.parser = parser;
      this.firstByte = firstByte;
    }

    /** Reads a file that is known to begin with a bracket. */
    static Elements read(Path file, Opener opener) throws IOException {
      byte[] bytes;
      try (InputStream in = opener.open(file)) {
        bytes = in.readNBytes(MAX_ARRAY_BYTES);
        if (in.read() >= 0) {
          throw new DataException(
              RowPlace.wholeFile(file),
              "is a JSON array of more than 2 GiB: make it JSON lines, which are streamed");
        }
      }
      int firstByte = afterByteOrderMark(bytes, bytes.length);
      int malformed = firstMalformed(bytes, firstByte, bytes.length);
      if (malformed >= 0) {
        long line = 1;
        for (int i = 0; i < malformed; i++) {
          line += bytes[i] == '\n' ? 1 : 0;
        }
        throw new DataException(new RowPlace(file, line, malformed), notUtf8(bytes[malformed]));
      }
      JsonParser parser = JSON.createParser(bytes, firstByte, bytes.length - firstByte);
      parser.nextToken(); // the bracket
      return new Elements(file, parser, firstByte);
    }

    @Override
    public @Nullable JsonRow next() {
      try {
        JsonToken token = parser.nextToken();
        RowPlace place = at(parser.currentTokenLocation());
        if (token == JsonToken.START_OBJECT) {
          return object(parser, place);
        }
        if (token == JsonToken.END_ARRAY) {
          if (parser.nextToken() != null) {
            throw new DataException(
                at(parser.currentTokenLocation()),
                "more text behind the array of rows, expected the end of the file");
          }
          return null;
        }
        parser.skipChildren();
        throw new BadRowException(
            place, "the array holds " + words(token) + ", expected one object per row");
      } catch (JsonEOFException e) {
        throw new DataException(
            at(failure(e, parser)), "the file ends inside of its JSON array: it is cut short", e);
      } catch (JsonProcessingException e) {
        throw new DataException(at(failure(e, parser)), notJson(e), e);
      } catch (IOException e) {
        throw unreadable(file, e);
      }
    }

    private RowPlace at(JsonLocation location) {
      return new RowPlace(
          file, location.getLineNr(), firstByte + Math.max(0, location.getByteOffset()));
    }

    @Override
    public void close() {
      try {
        parser.close();
      } catch (IOException e) {
        throw unreadable(file, e);
      }
    }
  }

  /** The columns of the object whose brace the parser has just read, to its closing brace. */
  private static JsonRow object(JsonParser parser, RowPlace place) throws IOException {
    List<Column> columns = new ArrayList<>();
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String name = parser.currentName();
      JsonToken value = parser.nextToken();
      Kind kind = kind(value);
      columns.add(new Column(name, kind, kind == Kind.TEXT ? parser.getText() : null));
      parser.skipChildren();
    }
    return new JsonRow(place, columns);
  }

  private static Kind kind(JsonToken value) {
    return switch (value) {
      case VALUE_STRING -> Kind.TEXT;
      case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> Kind.NUMBER;
      case VALUE_TRUE, VALUE_FALSE -> Kind.BOOLEAN;
      case VALUE_NULL -> Kind.NULL;
      case START_ARRAY -> Kind.LIST;
      case START_OBJECT -> Kind.OBJECT;
      default -> throw new IllegalStateException("no value: " + value);
    };
  }

  private static String words(@Nullable JsonToken token) {
    return token == null ? "nothing" : kind(token).words();
  }

  /** Where the parser stopped; exceeded limits come without a place of their own. */
  private static JsonLocation failure(JsonProcessingException e, JsonParser parser) {
    return e.getLocation() == null ? parser.currentLocation() : e.getLocation();
  }

  private static String notJson(JsonProcessingException e) {
    if (e instanceof StreamConstraintsException) {
      return "is nested deeper than "
          + MAX_DEPTH
          + " levels or has an overlong name or number: no dataset does that, it is damaged";
    }
    // Jackson's own words, without its advice to switch strictness off and its name of the source.
    String words = e.getOriginalMessage().lines().findFirst().orElse("");
    if (words.startsWith("Duplicate field")) {
      return words.replace("Duplicate field", "the name appears twice in one object:")
          + ": keep one";
    }
    return "is not JSON: "
        + words.replaceFirst("(: enable| \\(start marker).*", "").replaceAll("\\p{Cntrl}", "?");
  }

  private static String notUtf8(byte malformed) {
    return "byte 0x%02x is not UTF-8: re-encode the file as UTF-8 or repair the text"
        .formatted(malformed & 0xff);
  }

  private static DataException unreadable(Path file, IOException e) {
    String why =
        e instanceof NoSuchFileException
            ? "no such file"
            : "cannot be read: " + e.getClass().getSimpleName() + ": " + e.getMessage();
    return new DataException(RowPlace.wholeFile(file), why, e);
  }

  private static int afterByteOrderMark(byte[] bytes, int length) {
    int mark = BYTE_ORDER_MARK.length;
    return length >= mark && Arrays.equals(bytes, 0, mark, BYTE_ORDER_MARK, 0, mark) ? mark : 0;
  }

  /** By its mark, or because one of the first two bytes is zero, as in any UTF-16 JSON. */
  private static boolean isUtf16(byte first, byte second) {
    return (first == (byte) 0xFF && second == (byte) 0xFE)
        || (first == (byte) 0xFE && second == (byte) 0xFF)
        || first == 0
        || second == 0;
  }

  private static boolean isWhiteSpace(byte b) {
    return b == ' ' || b == '\t' || b == '\r';
  }

  /** Index of the first byte of {@code bytes[from, to)} that ends well-formed UTF-8, or -1. */
  private static int firstMalformed(byte[] bytes, int from, int to) {
    boolean ascii = true;
    for (int i = from; i < to; i++) {
      ascii &= bytes[i] >= 0;
    }
    if (ascii) {
      return -1;
    }
    CharsetDecoder decoder =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    ByteBuffer in = ByteBuffer.wrap(bytes, from, to - from);
    CharBuffer out = CharBuffer.allocate(8192);
    while (true) {
      CoderResult result = decoder.decode(in, out, true);
      if (result.isError()) {
        return in.position();
      }
      if (result.isUnderflow()) {
        return -1;
      }
      out.clear();
    }
  }
}
