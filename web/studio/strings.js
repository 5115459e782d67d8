/** Every sentence the studio says, and how it writes numbers, by subject. */

export * from './strings/numbers.js';
export * from './strings/say.js';
export * from './strings/model.js';
export * from './strings/drawing.js';
export * from './strings/metadata.js';
export * from './strings/gallery.js';
