// Makes the package of clients/javascript: its modules and those of static/core that they use, as they are, with
// declarations that TypeScript makes from their comments.
//
//     node scripts/package-client.mjs [FOLDER]      FOLDER: where the package's archive is put; dist/ where none is given
import { build } from 'esbuild';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const sources = 'clients/javascript';
const types = 'static/core/types.js'; // no module needs it when it runs, only TypeScript
const target = path.resolve(process.argv[2] ?? path.join(root, 'dist'));
const call = promisify(execFile);

const { metafile } = await build({ absWorkingDir: root, entryPoints: [`${sources}/index.js`], bundle: true, format: 'esm', external: ['ws'], write: false, metafile: true, logLevel: 'warning' });
const stage = await mkdtemp(path.join(os.tmpdir(), 'coderunner-client-'));
try {
  for (const file of [...Object.keys(metafile.inputs), types]) {
    const own = file.startsWith(`${sources}/`);
    const copy = path.join(stage, own ? path.relative(sources, file) : path.join('core', path.relative('static/core', file)));
    await mkdir(path.dirname(copy), { recursive: true });
    const text = await readFile(path.join(root, file), 'utf8');
    await writeFile(copy, own ? text.replaceAll('../../static/core/', './core/') : text);
  }
  for (const name of ['package.json', 'README.md']) await cp(path.join(root, sources, name), path.join(stage, name));
  await cp(path.join(root, 'LICENSE'), path.join(stage, 'LICENSE'));
  const compilerOptions = {
    allowJs: true, declaration: true, emitDeclarationOnly: true, strict: true, skipLibCheck: true, target: 'es2022', module: 'esnext',
    moduleResolution: 'bundler', lib: ['es2024', 'dom', 'dom.iterable', 'dom.asynciterable'], types: [],
  };
  const project = path.join(stage, 'tsconfig.json');
  await writeFile(project, JSON.stringify({ compilerOptions, files: ['index.js', 'core/types.js'] }));
  await call(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', project]);
  await rm(project);
  await mkdir(target, { recursive: true });
  await call('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', target], { cwd: stage });
} catch (error) {
  console.error(error.stdout || error.message);
  process.exitCode = 1;
} finally {
  await rm(stage, { recursive: true, force: true });
}
