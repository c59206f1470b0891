/** HTML as values: whatever is put into it is text, unless it is HTML that was made here. */

/** A piece of HTML. Only `html` makes one, so that no text becomes markup by mistake. */
export class Html {
  readonly #text: string

  private constructor(text: string) {
    this.#text = text
  }

  toString(): string {
    return this.#text
  }

  /** @internal for `html` */
  static made(text: string): Html {
    return new Html(text)
  }
}

/** What may stand in HTML; of null, undefined and false nothing does. */
type Value = Html | string | number | null | undefined | false | readonly Value[]

/** Characters that have a meaning in text and in quoted attributes. */
const MARKUP = /[&<>"'`]/g
/**
 * Characters that nobody sees, or that turn what follows around (U+202E and its kin): a name must not change how the rest of a page reads.
 * Each is shown by its number.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

function rendered(value: Value): string {
  if (value === null || value === undefined || value === false) return ''
  if (value instanceof Html) return value.toString()
  if (Array.isArray(value)) return value.map(rendered).join('')
  return String(value)
    .replaceAll(UNSEEN, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
    .replaceAll(MARKUP, (character) => `&#${character.charCodeAt(0)};`)
}

/** HTML with values in it. Attributes must be quoted. */
export function html(strings: TemplateStringsArray, ...values: readonly Value[]): Html {
  return Html.made(
    strings.map((text, position) => (position === 0 ? text : rendered(values[position - 1]) + text)).join(''),
  )
}
