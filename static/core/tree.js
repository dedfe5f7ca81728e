// Paths as the rows of a tree: folders before files, each folder's content below it.

// Numbers by their value: `file10` after `file9`. Not by the page's language, so that the order is the same for
// everybody.
const inOrder = new Intl.Collator('en', { numeric: true, sensitivity: 'variant' }).compare;

/**
 * @template Entry
 * @typedef {{path: string, name: string, level: number, folder: boolean, open: boolean, entry: Entry | null}} Row level from 1; a folder that is only known from its content has no entry
 */
/**
 * @template Entry
 * @typedef {{path: string, name: string, folder: boolean, entry: Entry | null, children: Map<string, Node<Entry>>}} Node
 */

/**
 * @template {{path: string, folder?: boolean}} Entry
 * @param {Entry[]} entries
 * @param {(path: string) => boolean} opened whether the content of a folder is shown
 * @returns {Row<Entry>[]}
 */
export function rows(entries, opened) {
  /** @type {Node<Entry>} */ const root = { path: '', name: '', entry: null, children: new Map(), folder: true };
  for (const entry of entries) {
    const parts = entry.path.split('/');
    let node = root;
    parts.forEach((name, at) => {
      const last = at === parts.length - 1;
      const known = node.children.get(name);
      // A folder may come before or after the files in it, or not at all.
      /** @type {Node<Entry>} */ const child = known ?? { path: parts.slice(0, at + 1).join('/'), name, entry: null, children: new Map(), folder: !last };
      if (!known) node.children.set(name, child);
      node = child;
      if (last) Object.assign(node, { entry, folder: Boolean(entry.folder) || node.children.size > 0 });
      else node.folder = true;
    });
  }
  /** @type {Row<Entry>[]} */ const found = [];
  const walk = (/** @type {Pick<Node<Entry>, 'children'>} */ node, /** @type {number} */ level) => {
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
