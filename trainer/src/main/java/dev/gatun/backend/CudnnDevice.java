package dev.gatun.backend;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.charset.StandardCharsets;

/**
 * The device that cuDNN compiles for: one that is here, or one that is known by its properties
 * only, for which plans can be made but not run.
 */
final class CudnnDevice implements AutoCloseable {
  private final CudnnDescriptor descriptor;
  private final int computeCapability;
  private final int multiprocessors;

  private CudnnDevice(CudnnDescriptor descriptor) {
    this.descriptor = descriptor;
    String json =
        new String(
            descriptor.getText(CudnnAttribute.DEVICEPROP_JSON_REPRESENTATION),
            StandardCharsets.UTF_8);
    JsonNode properties;
    try {
      properties = JsonMapper.builder().build().readTree(json);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(
          "cudnn: device properties are not JSON: " + e.getOriginalMessage(), e);
    }
    this.computeCapability = properties.path("deviceVer").asInt() / 10;
    this.multiprocessors = properties.path("multiProcessorCount").asInt();
  }

  /** The CUDA device of this number. */
  static CudnnDevice ofIndex(int index) {
    return finished(CudnnAttribute.DEVICEPROP_DEVICE_ID, index);
  }

  /** A device by the properties that cuDNN gave for it elsewhere. */
  static CudnnDevice ofProperties(byte[] json) {
    CudnnDescriptor descriptor = CudnnDescriptor.create(CudnnDescriptorType.DEVICEPROP);
    try {
      descriptor.set(CudnnAttribute.DEVICEPROP_JSON_REPRESENTATION, json).finish();
      return new CudnnDevice(descriptor);
    } catch (RuntimeException e) {
      descriptor.close();
      throw e;
    }
  }

  private static CudnnDevice finished(CudnnAttribute attribute, long value) {
    CudnnDescriptor descriptor = CudnnDescriptor.create(CudnnDescriptorType.DEVICEPROP);
    try {
      descriptor.set(attribute, value).finish();
      return new CudnnDevice(descriptor);
    } catch (RuntimeException e) {
      descriptor.close();
      throw e;
    }
  }

  CudnnDescriptor descriptor() {
    return descriptor;
  }

  /** 90 for sm_90. */
  int computeCapability() {
    return computeCapability;
  }

  /** Number of multiprocessors (SMs). */
  int multiprocessors() {
    return multiprocessors;
  }

  @Override
  public void close() {
    descriptor.close();
  }

  @Override
  public String toString() {
    return "sm_%d with %d multiprocessors".formatted(computeCapability, multiprocessors);
  }
}
