/** WebGPU's constants, which TypeScript's own description of the DOM leaves out. */

declare const GPUBufferUsage: Record<
  'MAP_READ' | 'MAP_WRITE' | 'COPY_SRC' | 'COPY_DST' | 'INDEX' | 'VERTEX' | 'UNIFORM' | 'STORAGE'
  | 'INDIRECT' | 'QUERY_RESOLVE', GPUBufferUsageFlags>;

declare const GPUMapMode: Record<'READ' | 'WRITE', GPUMapModeFlags>;
