// What ESLint looks for in the page, its tests and the scripts: `make lint`.
import js from '@eslint/js';
import globals from 'globals';
import { noLiteralTexts } from './scripts/eslint-texts.mjs';

export default [
  { ignores: ['static/dist/', 'node_modules/', '.venv/', '.node/', 'build/', 'static/core/widths.js', 'static/core/messages.js'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: 'module' },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-console': ['error', { allow: ['warn', 'error'] }],
      'no-control-regex': 'off', // names and output of programs are looked at for control characters
      'no-empty': ['error', { allowEmptyCatch: false }],
      'no-shadow': ['error', { hoist: 'functions' }],
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'all' }],
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-self-compare': 'error',
      'no-unmodified-loop-condition': 'error',
      'no-use-before-define': ['error', { functions: false, classes: false, variables: false }],
      'require-atomic-updates': 'off',
    },
  },
  { files: ['static/admin/**', 'static/app/**', 'static/room/**', 'static/vendor/**'], languageOptions: { globals: globals.browser } },
  { files: ['static/core/**'], languageOptions: { globals: globals['shared-node-browser'] } }, // runs in Node as well: no DOM
  { files: ['clients/javascript/**'], languageOptions: { globals: globals['shared-node-browser'] } },
  {
    files: ['static/app/**', 'static/core/**', 'static/room/**'],
    ignores: ['static/core/texts/**'],
    plugins: { page: { rules: { 'no-literal-texts': noLiteralTexts } } },
    rules: { 'page/no-literal-texts': 'error' },
  },
  { files: ['tests/js/**', 'scripts/*.mjs', 'eslint.config.mjs'], languageOptions: { globals: globals.node }, rules: { 'no-console': 'off' } },
];
