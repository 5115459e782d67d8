/** Reference images: chosen, dropped or pasted, decoded here, sent with the request. */

import { openCanvas, openPicture } from './canvas.js';
import { askNeeds } from './load.js';
import { set, state } from './state.js';
import { say } from './strings.js';
import { byId } from './view/document.js';

const picturesIn = (files) => [...files].filter((file) => file.type.startsWith('image/'));

/**
 * @param {Blob} file
 * @returns {Promise<{ width: number, height: number, rgba: Uint8ClampedArray }>} turned as its EXIF
 *   says; what is transparent lies on white
 */
async function decode(file) {
  const picture = await openPicture(file);
  try {
    const { width, height } = picture;
    const { context } = openCanvas(width, height);
    context.fillStyle = 'white';
    context.fillRect(0, 0, width, height);
    context.drawImage(picture.source, 0, 0);
    return { width, height, rgba: context.getImageData(0, 0, width, height).data };
  } finally {
    picture.close();
  }
}

function use(images) {
  set({ images });
  askNeeds();
}

async function addImages(files) {
  for (const file of files) {
    if (state.images.length >= state.mostImages) {
      return set({ error: { message: say.tooManyImages(state.mostImages) } });
    }
    try {
      const image = await decode(file);
      const { name } = file;
      use([...state.images, { ...image, name, url: URL.createObjectURL(file) }]);
    } catch {
      return set({ error: { message: say.imageUnreadable(file.name) } });
    }
  }
}

function removeImage(index) {
  URL.revokeObjectURL(state.images[index].url);
  use(state.images.filter((_, i) => i !== index));
  byId('choose-images').focus();
}

/** A drop elsewhere on the page is not meant for here. */
function listenToDrops(target) {
  target.addEventListener('dragover', (event) => {
    event.preventDefault();
    event.stopPropagation();
  });
  target.addEventListener('drop', (event) => {
    event.preventDefault();
    event.stopPropagation();
    addImages(picturesIn(event.dataTransfer.files));
  });
}

export function listenToImages() {
  const input = byId('image-files');
  byId('choose-images').addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    addImages(picturesIn(input.files));
    input.value = '';
  });
  byId('thumbnails').addEventListener('click', ({ target }) => {
    const entry = /** @type {Element} */ (target).closest('li');
    if (entry) removeImage([...entry.parentElement.children].indexOf(entry));
  });
  listenToDrops(byId('images'));
  document.addEventListener('paste', (event) => {
    const pictures = picturesIn(event.clipboardData?.files ?? []);
    if (!state.mostImages || !pictures.length) return;
    event.preventDefault();
    addImages(pictures);
  });
}
