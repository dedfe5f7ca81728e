// Numbers and plurals of a language, for its table of texts.

/**
 * @param {string} locale
 * `plural` takes a count and a text for each of the language's plural forms (`other` is used for those that are not given);
 * `number` a number and the number of its decimals.
 */
export function words(locale) {
  const rules = new Intl.PluralRules(locale);
  // Making a format takes much longer than using it.
  /** @type {Map<number, Intl.NumberFormat>} */ const formats = new Map();
  return {
    /** @param {number} count @param {{other: string} & Partial<Record<Intl.LDMLPluralRule, string>>} forms */
    plural: (count, forms) => forms[rules.select(count)] ?? forms.other,
    /** @param {number} value */
    number(value, digits = 0) {
      const format = formats.get(digits) ?? new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
      formats.set(digits, format);
      return format.format(value);
    },
  };
}
