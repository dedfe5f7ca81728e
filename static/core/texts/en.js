// All texts of the page in English, by the part of the page that shows them. A translation is one more folder and file
// with the same keys, named in static/app/texts.js; the type checker reports missing keys. Values in a text are its
// parameters. `*word*` is emphasis, in the texts of index.html. Texts in a terminal or an outcome begin with a small
// letter if they follow another one.
import { hints } from './en/hints.js';
import { page } from './en/page.js';
import { program } from './en/program.js';
import { project } from './en/project.js';
import { session } from './en/session.js';
import { units } from './en/units.js';
import { wall } from './en/wall.js';

/** @typedef {typeof en} Texts */
export const en = { locale: 'en', units, ...page, ...project, ...program, ...session, ...hints, ...wall };
