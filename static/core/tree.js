// Paths as the rows of a tree: folders before files, each folder's content below it.

const inOrder = new Intl.Collator('en', { numeric: true, sensitivity: 'variant' }).compare;

/**
 * @param entries with path and perhaps folder @param opened whether the content of a folder (its path) is shown
 * @returns {{path: string, name: string, level: number, folder: boolean, open: boolean, entry: any}[]} level from 1
 */
export function rows(/** @type {{path: string, folder?: boolean}[]} */ entries, /** @type {(path: string) => boolean} */ opened) {
  const root = { children: new Map(), folder: true };
  for (const entry of entries) {
    const parts = entry.path.split('/');
    let node = root;
    parts.forEach((name, at) => {
      const last = at === parts.length - 1;
      if (!node.children.has(name)) node.children.set(name, { path: parts.slice(0, at + 1).join('/'), name, entry: null, children: new Map(), folder: !last });
      node = node.children.get(name);
      if (last) Object.assign(node, { entry, folder: Boolean(entry.folder) || node.children.size > 0 });
      else node.folder = true;
    });
  }
  /** @type {{path: string, name: string, level: number, folder: boolean, open: boolean, entry: any}[]} */ const found = [];
  const walk = (/** @type {any} */ node, /** @type {number} */ level) => {
    const children = [...node.children.values()].sort((a, b) => Number(b.folder) - Number(a.folder) || inOrder(a.name, b.name));
    for (const { path, name, folder, entry, children: below } of children) {
      const open = folder && opened(path);
      found.push({ path, name, level, folder, open, entry });
      if (open) walk({ children: below }, level + 1);
    }
  };
  walk(root, 1);
  return found;
}
