/** @returns {() => number} milliseconds since its last call */
export function stopwatch() {
  let last = performance.now();
  return () => {
    const elapsed = performance.now() - last;
    last += elapsed;
    return elapsed;
  };
}
