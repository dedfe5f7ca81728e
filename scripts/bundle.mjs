// Bundles the web client into static/dist/.
//
//     node scripts/bundle.mjs
//
// dist/        the libraries, for our own modules as they are in static/: what a page in development loads
// dist/page/   all of the page in few files, whose names carry a hash of their content, with copies in gzip and Brotli;
//              index.html names them, and sources.txt is the digest of what they were made from; the same of the
//              operator's page, whose document is admin.html, and of the wall of a room, whose is room.html
//
// The libraries are bundled as they are published: nothing in them is replaced.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { en } from '../static/core/texts/en.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const out = path.join(root, 'static/dist');

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

/** In the page's bundle, our modules take the libraries from their sources: what is not used is left out. */
const fromSources = {
  name: 'from-sources',
  setup(bundle) {
    bundle.onResolve({ filter: /\/dist\/\w+\.js$/ }, ({ path: file }) => ({ path: path.join(root, 'static/vendor', path.basename(file)) }));
  },
};

const common = {
  absWorkingDir: root,
  bundle: true,
  format: 'esm',
  target: ['es2022', 'chrome123', 'firefox125', 'safari17.5'],
  minify: true,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
};

/** What the page is made from, as the server counts it too (server/coderunner/web/page.py). */
async function sources() {
  const names = (await Promise.all(['admin', 'app', 'core', 'room', 'style', 'vendor'].map(async (folder) =>
    (await readdir(path.join(root, 'static', folder), { recursive: true })).map((name) => `${folder}/${name}`)))).flat();
  const hash = createHash('sha256');
  for (const name of [...names.filter((one) => /\.(js|css)$/.test(one)), 'admin/index.html', 'index.html', 'room/index.html'].sort()) {
    hash.update(`${name}\0`);
    hash.update(await readFile(path.join(root, 'static', name)));
  }
  return hash.digest('hex');
}

/** Files that a bundle loads before it begins: those it imports, and those that these import. */
function loaded(outputs, name, found = new Set()) {
  for (const { path: file, kind } of outputs[name].imports) {
    if (kind !== 'import-statement' || found.has(file)) continue;
    found.add(file);
    loaded(outputs, file, found);
  }
  return found;
}

const ATTRIBUTES = { label: 'aria-label', title: 'title', placeholder: 'placeholder', content: 'content' };
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');

/** index.html with the English texts that it names: they are there before any script has run (static/app/texts.js). */
function withTexts(html) {
  const text = (name) => {
    const found = name.split('.').reduce((table, key) => table?.[key], en);
    if (typeof found !== 'string') throw new Error(`index.html names no text: ${name}`);
    return escaped(found);
  };
  return html
    .replace(/data-text-(\w+)="([\w.]+)"/g, (all, kind, name) => `${all} ${ATTRIBUTES[kind]}="${text(name)}"`)
    .replace(/(data-text="([\w.]+)"[^>]*>)(?=<\/)/g, (_, tag, name) => tag + text(name).replace(/\*([^*]+)\*/g, '<strong>$1</strong>'));
}

/** index.html with the bundle's files in the place of the sources. */
function bundledIndex(html, outputs) {
  const of = (entry) => Object.keys(outputs).find((name) => outputs[name].entryPoint === entry);
  const [app, style, first] = ['static/app/main.js', 'static/style/all.css', 'static/app/before-paint.js'].map(of);
  const links = [...loaded(outputs, app)].map((name) => `<link rel="modulepreload" href="${name}">`);
  const changes = [
    [/<link rel="modulepreload"[^>]*>\n/g, ''],
    [/<link rel="stylesheet"[^>]*>\n/g, ''],
    ['<script src="static/app/before-paint.js"></script>', `<script src="${first}"></script>\n<link rel="stylesheet" href="${style}">`],
    ['<script type="module" src="static/app/main.js"></script>', [...links, `<script type="module" src="${app}"></script>`].join('\n')],
  ];
  for (const [find, by] of changes) {
    const changed = html.replace(find, by);
    if (changed === html) throw new Error(`index.html has no ${find}`);
    html = changed;
  }
  return html;
}

/**
 * A page beside index.html (`name`: of its folder and its script) with the bundle's files in the place of the sources.
 * `up`: what leads from its address to the server's own, such as `../`.
 */
async function bundledOther(options, name, up = '') {
  const modules = await build({ ...options, entryPoints: [`static/${name}/${name}.js`], splitting: true });
  const styles = await build({ ...options, entryPoints: [`static/style/${name}-all.css`] });
  const outputs = { ...modules.metafile.outputs, ...styles.metafile.outputs };
  const of = (entry) => up + Object.keys(outputs).find((one) => outputs[one].entryPoint === entry);
  const html = withTexts(await readFile(path.join(root, `static/${name}/index.html`), 'utf8'))
    .replace(/<link rel="stylesheet"[^>]*>\n/g, '')
    .replace(`<script type="module" src="${up}static/${name}/${name}.js"></script>`, `<link rel="stylesheet" href="${of(`static/style/${name}-all.css`)}">\n<script type="module" src="${of(`static/${name}/${name}.js`)}"></script>`);
  if (!html.includes(`dist/page/${name}-`)) throw new Error(`${name}/index.html names no script`);
  return html;
}

async function compress(folder) {
  for (const name of await readdir(folder)) {
    const bytes = await readFile(path.join(folder, name));
    if (bytes.length < 512) continue;
    const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } };
    await writeFile(path.join(folder, `${name}.br`), brotliCompressSync(bytes, brotli));
    await writeFile(path.join(folder, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  }
}

async function buildPage() {
  const digest = await sources(); // before it is read for the bundle: what changes meanwhile makes another digest
  const folder = path.join(out, 'page');
  const options = { ...common, outdir: folder, plugins: [fromSources], entryNames: '[name]-[hash]', chunkNames: 'chunk-[hash]' };
  const modules = await build({ ...options, entryPoints: ['static/app/main.js'], splitting: true });
  const plain = await build({ ...options, entryPoints: ['static/app/before-paint.js'], format: 'iife' });
  const styles = await build({ ...options, entryPoints: ['static/style/all.css'] });
  const outputs = { ...modules.metafile.outputs, ...plain.metafile.outputs, ...styles.metafile.outputs };
  await writeFile(path.join(folder, 'index.html'), bundledIndex(withTexts(await readFile(path.join(root, 'static/index.html'), 'utf8')), outputs));
  await writeFile(path.join(folder, 'admin.html'), await bundledOther(options, 'admin'));
  await writeFile(path.join(folder, 'room.html'), await bundledOther(options, 'room', '../'));
  await compress(folder);
  await writeFile(path.join(folder, 'sources.txt'), digest);
  return Object.values(outputs).reduce((sum, file) => sum + file.bytes, 0);
}

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const { metafile } = await build({
  ...common,
  entryPoints: ['static/vendor/codemirror.js', 'static/vendor/focus.js', 'static/vendor/idb.js', 'static/vendor/uplot.js', 'static/vendor/xterm.js', 'static/vendor/zip.js'],
  outdir: out,
  splitting: true,
  chunkNames: 'chunk-[hash]',
});
// For the type checker: our modules see what the libraries declare, not what became of them here.
for (const name of ['codemirror', 'focus', 'idb', 'uplot', 'xterm', 'zip']) await writeFile(path.join(out, `${name}.d.ts`), `export * from '../vendor/${name}.js';\n`);
const page = await buildPage();
await copyFile(path.join(root, 'node_modules/@xterm/xterm/css/xterm.css'), path.join(out, 'xterm.css'));
await copyFile(path.join(root, 'node_modules/uplot/dist/uPlot.min.css'), path.join(out, 'uplot.css'));
await writeFile(path.join(out, 'LICENSES.txt'), await licences(metafile));
const bytes = Object.values(metafile.outputs).reduce((sum, file) => sum + file.bytes, 0);
console.log(`static/dist: libraries ${Math.round(bytes / 1024)} KiB, page ${Math.round(page / 1024)} KiB`);
