import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { LanguageDescription } from '@codemirror/language';
import { languages } from '@codemirror/language-data';

const folder = new URL('../../server/coderunner/languages/', import.meta.url);
const declared = readdirSync(folder, { withFileTypes: true }).filter(({ name }) => existsSync(new URL(`${name}/language.toml`, folder)));

for (const { name } of declared) {
  test(`the editor knows what to colour ${name} by`, () => {
    const text = readFileSync(new URL(`${name}/language.toml`, folder), 'utf8');
    const [, editor] = text.match(/^editor = "(.*)"$/m);
    // `text` is said where the editor has no grammar, so that a word mistyped is none.
    if (editor !== 'text') assert.ok(LanguageDescription.matchLanguageName(languages, editor, false), editor);
  });
}
