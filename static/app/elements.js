// The elements that the page's code looks up by id and that need a more specific type; tests/js/markup.test.js compares
// them with index.html.

/** @typedef {'ask-cancel'|'ask-ok'|'ask-other'|'clear-program'|'close-shell'|'hand'|'help'|'language'|'larger'|'leave'|'menu-end'|'menu-help'|
 *   'menu-reader'|'menu-reset'|'menu-sign-in'|'menu-sign-out'|'menu-system-theme'|'menu-theme'|'more'|'new-file'|'no-file-new'|'open-repl'|'open-shell'|'options'|
 *   'part-files'|'part-output'|'part-problems'|'project'|'restart-shell'|'run'|'samples'|'smaller'|'start-repl'|'start-shell'|
 *   'stdin-eof'|'stop'|'theme'|'toggle-artifacts'|'toggle-tree'|'transfer'|'viewer-close'|'viewer-next'|'viewer-previous'|
 *   'viewer-save'} Buttons */
/** @typedef {'args'|'ask-input'|'language-filter'|'stdin-text'|'upload-folder-input'|'upload-input'} Inputs */
/** @typedef {'ask-form'|'options-form'|'stdin'} Forms */
/** @typedef {'ask-dialog'|'help-dialog'|'viewer'} Dialogs */
/** @typedef {'entry-file'|'stdin-file'} Selects */

/**
 * @typedef {Record<Buttons, HTMLButtonElement> & Record<Inputs, HTMLInputElement> & Record<Forms, HTMLFormElement> &
 *   Record<Dialogs, HTMLDialogElement> & Record<Selects, HTMLSelectElement> & {env: HTMLTextAreaElement, 'viewer-open': HTMLAnchorElement}} Elements
 */
export {};
