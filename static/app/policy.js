// The page's content security policy allows styles from its own files only (`style-src 'self'`). Its libraries make
// some by script: CodeMirror (style-mod) and xterm.js make <style> elements, and xterm.js sets style attributes as
// text. Here the two functions of the DOM that they use are replaced by ones that the policy allows: constructed style
// sheets and the CSSOM. So the libraries need no patches, and `style-src` needs no 'unsafe-inline'.
//
// Neither has a sufficient option: CodeMirror takes a nonce, but a page that is built ahead of time has none, and no
// nonce covers attributes (https://github.com/codemirror/dev/issues/395). xterm.js used constructed sheets once, and
// stopped because of a bug of Chromium in 2023 (https://github.com/xtermjs/xterm.js/issues/4445, pull requests 4611,
// 4680). tests/browser/test_policy.py fails if a later version does not need this any more; then this file can be
// deleted.

/** An element that takes CSS as its textContent, like <style>, and keeps it in a constructed sheet. */
function styleElement() {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  const element = document.createElement('span');
  element.hidden = true;
  let text = '';
  Object.defineProperty(element, 'textContent', {
    get: () => text,
    set(css) {
      text = css;
      sheet.replaceSync(css);
    },
  });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

const { createElement } = document;
document.createElement = /** @type {any} */ ((/** @type {string} */ name, /** @type {ElementCreationOptions} */ options) => (
  name === 'style' ? styleElement() : createElement.call(document, name, options)));

const { setAttribute } = Element.prototype;
Element.prototype.setAttribute = function set(/** @type {string} */ name, /** @type {string} */ value) {
  if (name === 'style' && this instanceof HTMLElement) this.style.cssText = value;
  else setAttribute.call(this, name, value);
};
