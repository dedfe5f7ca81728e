// What is seen and not marked, and what is marked and cut off. Names of files, projects, languages and samples, and what
// programs and compilers write, are no texts of the page.
() => {
  const { desk, languages } = window.coderunner ?? {}; // the wall of a room has none
  const data = new Set(['CodeRunner', 'PNG', 'zip']);
  for (const { title, version, samples } of languages?.list ?? []) for (const one of [title, version, ...(samples ?? []).map((s) => s.title)]) data.add(one);
  for (const path of desk ? [desk.project.name, ...desk.project.paths, ...(desk.mirror?.entries.keys() ?? [])] : []) for (const one of [path, ...path.split('/')]) data.add(one);
  const names = [...data].filter(Boolean).sort((a, b) => b.length - a.length);
  const left = (text) => {
    for (let before; before !== text;) [before, text] = [text, text.replace(/⟦[^⟦⟧]*⟧/g, ' ')];
    for (const name of names) text = text.replaceAll(name, ' ');
    return text;
  };
  const theirs = '.cm-content, .cm-gutters, .xterm, .what, .where, .card-name, .table, svg, script, noscript, [data-theirs]';
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest('.aside, [inert]');
  const unmarked = new Set();
  const cut = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest(theirs) || !shown(element)) continue;
    const whole = element.closest('[data-text]')?.textContent ?? node.data;
    if (/\p{L}{2,}/u.test(left(whole))) unmarked.add(whole);
    if (!whole.includes('⟦') || element.closest('.skip')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      let [across, down] = [true, true]; // until something scrolls
      for (let at = element; at && at !== document.body; at = at.parentElement) {
        const { overflowX, overflowY, position } = getComputedStyle(at);
        const edge = at.getBoundingClientRect();
        if (overflowX === 'auto' || overflowX === 'scroll') across = false;
        if (overflowY === 'auto' || overflowY === 'scroll') down = false;
        if (across && overflowX !== 'visible' && (box.right > edge.right + 1 || box.left < edge.left - 1)) cut.add(`${whole} | across ${at.id || at.className}`);
        if (down && overflowY !== 'visible' && (box.bottom > edge.bottom + 3 || box.top < edge.top - 3)) cut.add(`${whole} | down ${at.id || at.className}`);
        if (position === 'fixed') break;
      }
      if (across && (box.right > innerWidth + 1 || box.left < -1)) cut.add(`${whole} | beside the page`);
    }
  }
  for (const element of document.body.querySelectorAll('[aria-label], [title], [placeholder], [alt]')) {
    if (element.closest('.xterm-accessibility, .problem-row') || !shown(element)) continue;
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) {
      const text = element.getAttribute(name);
      if (text && /\p{L}{2,}/u.test(left(text))) unmarked.add(`${name}: ${text}`);
    }
  }
  return [...unmarked].map((one) => `unmarked ${one}`).concat([...cut].map((one) => `cut off ${one}`));
}
