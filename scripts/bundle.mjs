// Bundles the web client's libraries once, into static/dist/. Our own modules are served as they are.
//
//     node scripts/bundle.mjs
//
// Three places in the libraries make styles in a way that a strict content security policy forbids; they are
// replaced here by what static/vendor/style-element.js offers. A version of a library in which such a place
// cannot be found stops the build: a page whose styles are blocked must not be served.
import { build } from 'esbuild';
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const out = path.join(root, 'static/dist');
const shim = path.join(root, 'static/vendor/style-element.js');

const patches = [
  {
    file: /@xterm[/\\]xterm[/\\]lib[/\\]xterm\.mjs$/,
    prelude: `import { styleElement as __styleElement, addStyle as __addStyle } from ${JSON.stringify(shim)};\n`,
    replace: [
      { find: /([\w.]+)\.createElement\("style"\)/g, by: '__styleElement($1)', times: 3 },
      { find: /(\w)\.setAttribute\("style",`\$\{\1\.getAttribute\("style"\)\|\|""\}\$\{(\w)\};`\)/g, by: '__addStyle($1,$2)', times: 1 },
    ],
  },
  {
    // style-mod uses constructed sheets in shadow roots only; a document can have them as well.
    file: /style-mod[/\\]src[/\\]style-mod\.js$/,
    prelude: '',
    replace: [{ find: /!root\.head && root\.adoptedStyleSheets/g, by: 'root.adoptedStyleSheets', times: 1 }],
  },
];

const contentPolicy = {
  name: 'content-security-policy',
  setup(bundle) {
    for (const patch of patches) {
      bundle.onLoad({ filter: patch.file }, async ({ path: file }) => {
        let source = await readFile(file, 'utf8');
        for (const { find, by, times } of patch.replace) {
          const found = source.match(find)?.length ?? 0;
          if (found !== times) throw new Error(`${file}: ${find} found ${found} times, not ${times}; see scripts/bundle.mjs`);
          source = source.replace(find, by);
        }
        patch.done = true;
        return { contents: patch.prelude + source, loader: 'js' };
      });
    }
  },
};

/** The licences of all packages whose code is in the bundle, as one text. */
async function licences(metafile) {
  const folders = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const match = input.match(/^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//);
    if (match) folders.add(match[1]);
  }
  const parts = [];
  for (const name of [...folders].sort()) {
    const folder = path.join(root, 'node_modules', name);
    const { version, license } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(path.join(folder, file), 'utf8') : `Licence: ${license}\n`;
    parts.push(`${name} ${version}\n\n${text.trim()}\n`);
  }
  return parts.join(`\n${'-'.repeat(72)}\n\n`);
}

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['static/vendor/codemirror.js', 'static/vendor/idb.js', 'static/vendor/xterm.js', 'static/vendor/zip.js'],
  outdir: out,
  bundle: true,
  splitting: true,
  format: 'esm',
  target: ['es2022'],
  minify: true,
  legalComments: 'none',
  chunkNames: 'chunk-[hash]',
  metafile: true,
  plugins: [contentPolicy],
  logLevel: 'warning',
});
for (const patch of patches) if (!patch.done) throw new Error(`${patch.file} was not part of the bundle`);
await copyFile(path.join(root, 'node_modules/@xterm/xterm/css/xterm.css'), path.join(out, 'xterm.css'));
await writeFile(path.join(out, 'LICENSES.txt'), await licences(metafile));
const bytes = Object.values(metafile.outputs).reduce((sum, file) => sum + file.bytes, 0);
console.log(`static/dist: ${Object.keys(metafile.outputs).length} files, ${Math.round(bytes / 1024)} KiB`);
