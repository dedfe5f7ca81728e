// Stand-ins for what a content security policy without 'unsafe-inline' forbids to libraries: <style> elements
// made by script and style attributes set as text. Constructed style sheets and the CSSOM are allowed by
// `style-src 'self'`, so the page needs neither a nonce nor a hash. scripts/bundle.mjs puts these calls in place.

/** An element that takes CSS as its textContent, like <style>, and keeps it in a constructed sheet. */
export function styleElement(document) {
  const sheet = new document.defaultView.CSSStyleSheet();
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

/** Adds declarations to an element's inline style. */
export function addStyle(element, declarations) {
  element.style.cssText += `${declarations};`;
}
