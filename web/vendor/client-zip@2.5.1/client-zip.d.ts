/** What the page uses of it. */
export function downloadZip(
  files: AsyncIterable<{ name: string, lastModified?: number | Date, input: Blob }>): Response;
