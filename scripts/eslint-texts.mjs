// ESLint: what a user reads comes from the table of texts (static/core/texts), not from the code.
const WORDS = /\p{L}{2,}[^\p{L}<>{}()=;]* \p{L}{2,}|^\p{Lu}\p{Ll}+[.…?!]?$/u; // two words, or one that begins as a sentence does
const ANY = /\p{L}{2,}/u;
const SHOWN = new Set(['textContent', 'title', 'label', 'detail', 'text', 'ok', 'other', 'note', 'alt', 'placeholder', 'ariaLabel', 'aria-label', 'does', 'also', 'innerText']);
const TOLD = new Set(['announce', 'say', 'prompt', 'alert', 'confirm']);
const CODE = new Set(['$', 'all', 'first', 'focusedIn', 'closest', 'matches', 'querySelector', 'querySelectorAll', 'matchMedia']);
const INTERNAL = /^(CodecError|RangeError|TypeError)$/; // told by their codes, or to us alone
const NAMES = /\bCodeRunner\b/g;
const STYLE = /var\(--|^[a-z]+(-[a-z]+)*$/;

const nameOf = (key) => (key ? key.name ?? key.value : undefined);
const called = ({ callee }) => callee?.name ?? callee?.property?.name ?? callee?.property?.id?.name;

/** Whether a literal is what a user sees: by the property or the call that it is given to. */
function shown(node) {
  for (let [at, inner] = [node.parent, node]; at; [at, inner] = [at.parent, at]) {
    if (at.type === 'Property') return at.value === inner && SHOWN.has(nameOf(at.key));
    if (at.type === 'AssignmentExpression') return at.right === inner && SHOWN.has(at.left.property?.name);
    if (at.type === 'CallExpression') return TOLD.has(called(at)) || (called(at) === 'setAttribute' && SHOWN.has(at.arguments[0]?.value) && at.arguments[1] === inner);
    if (/Function|Program|BinaryExpression|MemberExpression/.test(at.type)) return false;
    if (at.type === 'ConditionalExpression' && at.test === inner) return false;
  }
  return false;
}

/** The name of the property that a literal is for, also by a condition. */
function owner({ parent }) {
  if (parent.type === 'ConditionalExpression') return owner(parent);
  if (parent.type === 'AssignmentExpression') return parent.left.property?.name;
  return parent.type === 'Property' ? nameOf(parent.key) : undefined;
}

/** Whether it is none: code in a string, a key of a keyboard, or an error that nobody but us reads. */
function exempt(node) {
  const { parent } = node;
  if (/^(Import|Export)/.test(parent.type) || parent.type === 'ExpressionStatement') return true;
  if (parent.type === 'BinaryExpression' || parent.type === 'SwitchCase' || parent.key === node) return true;
  if (parent.type === 'MemberExpression') return true;
  const call = parent.type === 'TemplateLiteral' ? parent.parent : parent;
  if (call?.type === 'NewExpression') return INTERNAL.test(call.callee.name ?? '');
  return call?.type === 'CallExpression' && CODE.has(called(call));
}

export const noLiteralTexts = {
  meta: { type: 'problem', schema: [], messages: { literal: 'A text that a user sees belongs into static/core/texts/en/: {{ text }}', early: 'Texts are chosen after modules are loaded: take them when they are shown.' } },
  create(context) {
    const report = (node, text) => context.report({ node, messageId: 'literal', data: { text: JSON.stringify(text) } });
    const look = (node, text) => {
      const seen = shown(node);
      if (exempt(node) || (!seen && STYLE.test(text)) || /^(className|rel)$/.test(owner(node))) return;
      if (seen ? ANY.test(text.replace(NAMES, '')) : WORDS.test(text) && / /.test(text)) report(node, text);
    };
    return {
      Literal: (node) => typeof node.value === 'string' && look(node, node.value),
      TemplateElement: (node) => look(node, node.value.cooked ?? ''),
      Identifier(node) {
        if (node.name !== 'texts' || node.parent.type !== 'MemberExpression' || node.parent.object !== node) return;
        for (let at = node.parent; at; at = at.parent) {
          if (/Function/.test(at.type) || at.type === 'PropertyDefinition') return;
        }
        if (!/main\.js$/.test(context.filename)) context.report({ node, messageId: 'early' });
      },
    };
  },
};
