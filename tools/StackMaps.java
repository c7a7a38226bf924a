import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassFileVersion;
import java.lang.classfile.ClassHierarchyResolver;
import java.lang.classfile.ClassModel;
import java.lang.classfile.ClassTransform;
import java.lang.classfile.CodeTransform;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/**
 * Gives classes that were compiled for Java 5 or before (picocli's) the stack maps that later ones
 * have: {@code java StackMaps.java JAR...} rewrites each jar that has such classes, and leaves the
 * others.
 *
 * <p>Without stack maps the virtual machine infers types when it loads a class, which is slow, and
 * leaves the class out of an AOT cache. Code, names and line numbers stay.
 */
final class StackMaps {
  /** Classes of this version and later have stack maps, or need none. */
  private static final int FIRST_WITH = ClassFile.JAVA_7_VERSION;

  private StackMaps() {}

  public static void main(String[] args) throws IOException {
    for (String arg : args) {
      Path jar = Path.of(arg);
      if (isOld(jar)) {
        Path rewritten = jar.resolveSibling(jar.getFileName() + ".new");
        rewrite(jar, rewritten);
        Files.move(rewritten, jar, StandardCopyOption.REPLACE_EXISTING);
      }
    }
  }

  private static boolean isOld(Path file) throws IOException {
    try (ZipFile jar = new ZipFile(file.toFile())) {
      for (ZipEntry entry : entries(jar)) {
        if (isClass(entry) && version(jar.getInputStream(entry).readNBytes(8)) < FIRST_WITH) {
          return true;
        }
      }
      return false;
    }
  }

  private static void rewrite(Path from, Path to) throws IOException {
    try (ZipFile jar = new ZipFile(from.toFile());
        ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(to))) {
      ClassFile classes = classes(jar);
      for (ZipEntry entry : entries(jar)) {
        byte[] bytes = jar.getInputStream(entry).readAllBytes();
        ZipEntry copy = new ZipEntry(entry.getName());
        copy.setTimeLocal(entry.getTimeLocal());
        out.putNextEntry(copy);
        out.write(
            isClass(entry) && version(bytes) < FIRST_WITH ? withMaps(classes, bytes) : bytes);
        out.closeEntry();
      }
    }
  }

  /** Knows which class extends which, of those in the jar and of the JDK. */
  private static ClassFile classes(ZipFile jar) {
    ClassHierarchyResolver inJar =
        ClassHierarchyResolver.ofResourceParsing(
            type -> {
              String descriptor = type.descriptorString();
              ZipEntry entry =
                  jar.getEntry(descriptor.substring(1, descriptor.length() - 1) + ".class");
              try {
                return entry == null ? null : jar.getInputStream(entry);
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
            });
    return ClassFile.of(
        ClassFile.StackMapsOption.GENERATE_STACK_MAPS,
        ClassFile.ClassHierarchyResolverOption.of(
            inJar.orElse(ClassHierarchyResolver.defaultResolver())));
  }

  private static byte[] withMaps(ClassFile classes, byte[] bytes) {
    ClassModel model = classes.parse(bytes);
    ClassTransform version =
        (builder, element) -> {
          if (element instanceof ClassFileVersion) {
            builder.withVersion(FIRST_WITH, 0);
          } else {
            builder.with(element);
          }
        };
    return classes.transformClass(
        model, version.andThen(ClassTransform.transformingMethodBodies(CodeTransform.ACCEPT_ALL)));
  }

  private static List<ZipEntry> entries(ZipFile jar) {
    return new ArrayList<>(jar.stream().filter(entry -> !entry.isDirectory()).toList());
  }

  private static boolean isClass(ZipEntry entry) {
    return entry.getName().endsWith(".class");
  }

  /** The major version: bytes 6 and 7. */
  private static int version(byte[] bytes) {
    return (bytes[6] & 0xff) << 8 | bytes[7] & 0xff;
  }
}
