/** A list of thumbnails, one of which Tab reaches; arrow keys move from there. */

const AHEAD = '400px'; // a thumbnail is read when it is this near to the window

/**
 * @typedef {{ onOpen: (id: string) => void, onDelete?: (id: string) => void,
 *   onMove?: (id: string) => void }} Listeners
 */

export class Thumbs {
  #list;
  #items = new Map(); // id -> li
  #near;

  /**
   * @param {HTMLElement} list
   * @param {(id: string) => Promise<Blob>} read
   * @param {Listeners} on
   */
  constructor(list, read, on) {
    this.#list = list;
    this.#near = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) if (isIntersecting) this.#load(target, read);
    }, { rootMargin: AHEAD });
    const idOf = ({ target }) => target.closest('li')?.dataset.id;
    list.addEventListener('click', (event) => idOf(event) && on.onOpen(idOf(event)));
    list.addEventListener('focusin', (event) => on.onMove?.(idOf(event)));
    list.addEventListener('keydown', (event) => this.#onKey(event, idOf(event), on));
  }

  /** Shows the entries in their order; `current` is the id that Tab reaches. */
  render(entries, current) {
    const wanted = new Set(entries.map(({ id }) => id));
    for (const [id, item] of this.#items) if (!wanted.has(id)) this.#drop(id, item);
    const reached = wanted.has(current) ? current : entries[0]?.id;
    entries.forEach((entry, place) => {
      const item = this.#items.get(entry.id) ?? this.#make(entry);
      const there = this.#list.children[place];
      if (there !== item) this.#list.insertBefore(item, there ?? null);
      item.firstChild.tabIndex = entry.id === reached ? 0 : -1;
    });
  }

  /** @returns {boolean} false: no such thumbnail is shown */
  focus(id) {
    this.#items.get(id)?.firstChild.focus();
    return this.#items.has(id);
  }

  /** The button has the prompt as its name, so the image within needs none. */
  #make({ id, settings }) {
    const item = document.createElement('li');
    item.dataset.id = id;
    const button = document.createElement('button');
    button.type = 'button';
    button.ariaLabel = button.title = settings.prompt;
    const image = document.createElement('img');
    image.alt = '';
    image.draggable = false;
    button.append(image);
    item.append(button);
    this.#items.set(id, item);
    this.#near.observe(item);
    return item;
  }

  #drop(id, item) {
    this.#near.unobserve(item);
    this.#items.delete(id);
    URL.revokeObjectURL(item.querySelector('img').src);
    item.remove();
  }

  async #load(item, read) {
    this.#near.unobserve(item);
    const thumbnail = await read(item.dataset.id).catch(() => null);
    if (thumbnail && item.isConnected) {
      item.querySelector('img').src = URL.createObjectURL(thumbnail);
    }
  }

  /**
   * @param {KeyboardEvent} event
   * @param {string | undefined} id
   * @param {Listeners} on
   */
  #onKey(event, id, { onDelete }) {
    const { key, altKey, ctrlKey, metaKey } = event;
    if (!id || altKey || ctrlKey || metaKey) return;
    if (onDelete && (key === 'Delete' || key === 'Backspace')) {
      event.preventDefault();
      onDelete(id);
      return;
    }
    const items = [...this.#list.children];
    const place = items.indexOf(this.#items.get(id));
    const target = items[this.#placeAfter(key, place, items)];
    if (!target) return;
    event.preventDefault();
    target.firstChild.focus();
  }

  /** @returns {number} may lie outside of the list; NaN: not a key that moves */
  #placeAfter(key, place, items) {
    const columns = items.filter((item) => item.offsetTop === items[0].offsetTop).length;
    const moves = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns,
      Home: -place, End: items.length - 1 - place,
    };
    return place + (moves[key] ?? NaN);
  }
}
