/**
 * Mutants: one small change of a source each, by tokens. What stands in comments, texts and imports is left alone; inside `sql` templates
 * the operators of SQL apply, and nowhere else.
 */

/** One change: `before` at an offset becomes `after`. */
export interface Mutant {
  file: string
  line: number
  offset: number
  before: string
  after: string
}

interface Operator {
  pattern: RegExp
  /** What a match becomes. */
  change(before: string): string
  /** A match may reach over texts and comments. */
  isWide?: true
}

/** Changes every match of the left to the right, and the other way round. */
const swap = (left: string, right: string): Operator[] => [replace(left, right), replace(right, left)]
const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
const replace = (before: string, after: string): Operator => ({
  pattern: new RegExp(escaped(before), 'g'),
  change: () => after,
})
/**
 * A number of the code, not a part of a name, one more. What stands for an element of a list that is there, or for a count that every change
 * of rows has, the type checker alone wants. Of thousands one more is nothing: they are sizes and times.
 */
const NUMBERS: Operator = {
  pattern: /(?<![\w.$]|(?:\]|rowCount) \?\? )\d{1,3}(?![\w.])/g,
  change: (digits) => String(Number(digits) + 1),
}

const CODE: readonly Operator[] = [
  ...swap(' === ', ' !== '),
  ...swap(' < ', ' <= '),
  ...swap(' > ', ' >= '),
  ...swap(' && ', ' || '),
  ...swap(' + ', ' - '),
  ...swap('.every(', '.some('),
  replace('.at(-1)', '.at(0)'),
  replace('.slice(', '.concat('),
  { pattern: /\b(?:true|false)\b/g, change: (word) => String(word !== 'true') },
  { pattern: /\bif \(!/g, change: () => 'if (' },
  // A statement that is waited for, or that refuses, is left out.
  { pattern: /(?<=\n) +(?:await|throw) [^\n]*\)(?=\n)/g, change: (line) => `${/^ */.exec(line)}void 0`, isWide: true },
  NUMBERS,
]

const SQL: readonly Operator[] = [
  ...swap(' and ', ' or '),
  ...swap(' = ', ' <> '),
  ...swap(' < ', ' <= '),
  ...swap(' > ', ' >= '),
  ...swap('is not null', 'is null'),
  ...swap('max(', 'min('),
  replace('not exists', 'exists'),
  replace(' desc', ''),
  replace(' is distinct from ', ' is not distinct from '),
  {
    pattern: /coalesce\([^(),]+, [^(),]+\)/g,
    change: (call) => call.replace(/\((.*), (.*)\)/, '($2, $1)'),
    isWide: true,
  },
  NUMBERS,
]

/** Every mutant of a source. */
export function mutantsOf(file: string, source: string): Mutant[] {
  const { code, statements } = partsOf(source)
  return [
    [code, CODE],
    [statements, SQL],
  ].flatMap(([text, operators]) =>
    (operators as readonly Operator[]).flatMap((operator) => apply(file, source, text as string, operator)),
  )
}

function apply(file: string, source: string, text: string, { pattern, change, isWide }: Operator): Mutant[] {
  return [...text.matchAll(pattern)].flatMap(({ 0: found, index: offset }) => {
    const before = source.slice(offset, offset + found.length)
    if (before !== found && isWide !== true) return []
    const line = source.slice(0, offset).split('\n').length
    return [{ file, line, offset, before, after: change(before) }]
  })
}

/** The source with a mutant in it. */
export const mutate = (source: string, { offset, before, after }: Mutant): string =>
  source.slice(0, offset) + after + source.slice(offset + before.length)

/**
 * The source twice, each as long as it is: the code alone, and the SQL alone. Everything else is blank but for line ends, so that offsets
 * are those of the source.
 */
function partsOf(source: string): { code: string; statements: string } {
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|^import [\s\S]*?(?: from )?'[^'\n]*'$|'(?:[^'\\\n]|\\.)*'|(?<sql>sql(?:\.raw\()?`)|`(?:[^`\\]|\\.)*`|(?<=[(=,:?&|!] ?)\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/gm
  const blank = (text: string) => text.replace(/[^\n]/g, ' ')
  let code = ''
  let statements = ''
  let last = 0
  for (let match = token.exec(source); match !== null; match = token.exec(source)) {
    const end =
      match.groups?.['sql'] === undefined ? match.index + match[0].length : endOfTemplate(source, token.lastIndex)
    const between = source.slice(last, match.index)
    const inside = source.slice(match.index, end)
    code += between + blank(inside)
    statements += blank(between) + (match.groups?.['sql'] === undefined ? blank(inside) : withoutValues(inside))
    last = end
    token.lastIndex = end
  }
  const rest = source.slice(last)
  return { code: code + rest, statements: statements + blank(rest) }
}

/** Behind the end of a template that begins before `from`; values may hold templates. */
function endOfTemplate(source: string, from: number): number {
  for (let at = from; at < source.length; at++) {
    if (source[at] === '`') return at + 1
    if (source.startsWith('${', at)) at = endOfValue(source, at + 2) - 1
  }
  return source.length
}

function endOfValue(source: string, from: number): number {
  for (let at = from, depth = 1; at < source.length; at++) {
    if (source[at] === '`') at = endOfTemplate(source, at + 1) - 1
    else if (source[at] === '{') depth++
    else if (source[at] === '}' && --depth === 0) return at + 1
  }
  return source.length
}

/** A template with its values blank. */
function withoutValues(template: string): string {
  let text = ''
  for (let at = 0; at < template.length; ) {
    const end = template.startsWith('${', at) ? endOfValue(template, at + 2) : at + 1
    const part = template.slice(at, end)
    text += end === at + 1 ? part : part.replace(/[^\n]/g, ' ')
    at = end
  }
  return text
}

/** Numbers from 0 to 1 that follow from a seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** `count` of these, no line twice as long as there are others. */
export function sample(mutants: readonly Mutant[], count: number, random: () => number): Mutant[] {
  const ranked = mutants.map((mutant) => ({ mutant, rank: random() })).sort((a, b) => a.rank - b.rank)
  const seen = new Set<string>()
  const [firsts, others]: [Mutant[], Mutant[]] = [[], []]
  for (const { mutant } of ranked) {
    const place = `${mutant.file}:${mutant.line}`
    ;(seen.has(place) ? others : firsts).push(mutant)
    seen.add(place)
  }
  return [...firsts, ...others].slice(0, count)
}
