/**
 * Settings from the environment: one schema per app, all problems at once, names one letter off noticed.
 * docs/reference/settings.md and `.env.example` are written from the same schema (`settingsTable`, `envExample`).
 */

import { BootError, reasonOf } from './errors.ts'
import { readTextSync } from './files/text-file.ts'

/** One setting: how its text becomes a value, and what the documentation says of it. */
export interface Setting<T> {
  /** The value of a text; throws an `Error` whose message completes "NAME …". */
  parse(text: string): T
  /** The value when unset; `required` when there is none. */
  fallback: T | typeof REQUIRED
  /** The default as the documentation shows it. */
  shown: string
  description: string
  example: string
  /** A secret may also be given as a file, by `NAME_FILE`. */
  secret: boolean
}

const REQUIRED = Symbol('required')

/** The values of a schema, by name. */
export type SettingsOf<S extends SettingsSchema> = {
  readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never
}
export type SettingsSchema = Readonly<Record<string, Setting<unknown>>>

interface Words {
  description: string
  example: string
}

function setting<T>(parse: (text: string) => T, words: Words): Setting<T> {
  return { parse, fallback: REQUIRED, shown: 'required', secret: false, ...words }
}

/** The same setting with a value for when it is unset; `shown` is the default in the documentation's words. */
export function withDefault<T, D>(inner: Setting<T>, fallback: D, shown = String(fallback)): Setting<T | D> {
  return { ...inner, fallback, shown }
}

/** The same setting, which may be left out. */
export function optional<T>(inner: Setting<T>, shown = ''): Setting<T | undefined> {
  return withDefault(inner, undefined, shown)
}

/** The same setting as a secret: `NAME` or `NAME_FILE`; its value is never printed. */
export function secret<T>(inner: Setting<T>): Setting<T> {
  return { ...inner, secret: true }
}

/** Any text. */
export const text = (words: Words): Setting<string> => setting((value) => value, words)

/** A whole number of `min` to `max`. */
export const integer = (min: number, max: number, words: Words): Setting<number> =>
  setting((value) => {
    const number = Number(value)
    if (!/^\d+$/.test(value) || number < min || number > max)
      throw new Error(`must be a whole number from ${min} to ${max}`)
    return number
  }, words)

/** One of a few words, whatever the letter case. */
export const oneOf = <const T extends string>(choices: readonly T[], words: Words): Setting<T> =>
  setting((value) => {
    const found = choices.find((choice) => choice.toLowerCase() === value.toLowerCase())
    if (found === undefined) throw new Error(`must be one of ${choices.join(', ')}`)
    return found
  }, words)

/** An http or https URL; credentials in it are kept. */
export const url = (words: Words, protocols: readonly string[] = ['http:', 'https:']): Setting<URL> =>
  setting((value) => {
    // Without the slashes the rest would be a path, and a password in it would not be known as one.
    if (!protocols.some((protocol) => value.toLowerCase().startsWith(`${protocol}//`)))
      throw new Error(`must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`)
    if (!URL.canParse(value) || isMisread(value))
      throw new Error(
        'is not read as it is meant: percent-encode the special characters of user and password (@ is %40, / is %2F, # is %23, ? is %3F, : is %3A, % is %25, a comma is %2C)',
      )
    return new URL(value)
  }, words)

/**
 * Whether a URL with a user and password would be taken apart at another place than was meant: a `/`, `?` or `#` in a password ends the
 * host early, and the rest of the password would be shown as a host, or as a path.
 */
export function isMisread(value: string): boolean {
  const [, scheme = '', authority = '', rest = ''] = /^([a-z]+):\/\/([^/?#]*)(.*)$/is.exec(value) ?? []
  // An @ in the value of a parameter is one that was meant.
  const outside = rest.startsWith('/') ? rest.replaceAll(/[?&][^=&@/#]+=[^&#]*/g, '') : rest
  if (outside.includes('@') && /[@:]/.test(authority)) return true
  if (/^https?$/i.test(scheme)) return false
  // What connects to databases decodes both, and knows no fragment.
  return rest.includes('#') || /%(?![0-9a-f]{2})/i.test(authority)
}

/** An address to listen on; one of IPv6 may stand in brackets, as in a URL. */
export const host = (words: Words): Setting<string> => setting((value) => value.replace(/^\[(.*)\]$/, '$1'), words)

/** A comma separated list of what `item` reads. */
export const list = <T>(item: Setting<T>): Setting<readonly T[]> => ({
  ...item,
  fallback: REQUIRED,
  parse: (value) =>
    value
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')
      .map((part) => item.parse(part)),
})

/** A value checked by a function of the app: `parse` throws an `Error` whose message completes "NAME …". */
export const custom = <T>(parse: (text: string) => T, words: Words): Setting<T> => setting(parse, words)

/** Environment variables, as `process.env` has them. An empty text counts as unset. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads every setting of a schema.
 *
 * @param ignored names that are known but mean nothing here (accepted with a note); one that ends in * stands for all that begin so
 * @returns the values, and what to warn of
 * @throws {BootError} SETTINGS_INVALID, with one line for each problem
 */
export function readSettings<S extends SettingsSchema>(
  schema: S,
  environment: Environment,
  ignored: readonly string[] = [],
): { values: SettingsOf<S>; warnings: string[] } {
  const problems: string[] = []
  const values: Record<string, unknown> = {}
  for (const [name, definition] of Object.entries(schema)) {
    try {
      const raw = rawValue(name, definition, environment)
      if (raw !== undefined) values[name] = definition.parse(raw)
      else if (definition.fallback === REQUIRED)
        problems.push(`${name} is required, for example ${name}=${definition.example}`)
      else values[name] = definition.fallback
    } catch (error) {
      problems.push(`${name} ${(error as Error).message}, for example ${name}=${definition.example}`)
    }
  }
  const warnings = warningsOf(schema, environment, ignored)
  if (problems.length > 0) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
    // A setting that is missing may be the one whose name has a typo.
    const lines = [...problems, ...warnings.filter(isHint)]
    throw new BootError(
      'SETTINGS_INVALID',
      `${count} in the settings:\n${lines.map((line) => `  - ${line}`).join('\n')}`,
    )
  }
  return { values: Object.freeze(values) as SettingsOf<S>, warnings }
}

const QUOTED = /^(["'])(.*)\1$/s

/**
 * The value of a variable without outer spaces and quotes: a shell takes quotes off, `docker --env-file` and some service managers do not.
 * No value of ours has any, so that whoever writes them means what they hold.
 *
 * @throws {Error} a quote without its other half, or more of them
 */
export function variableOf(environment: Environment, name: string): string | undefined {
  const value = environment[name]?.trim()
  if (value === undefined || !/^["']|["']$/.test(value)) return value
  const [, quote = '', inner = ''] = QUOTED.exec(value) ?? []
  if (quote === '' || inner.includes(quote)) throw new Error('has quotes in it: leave them out')
  return inner.trim()
}

function rawValue(name: string, definition: Setting<unknown>, environment: Environment): string | undefined {
  const direct = variableOf(environment, name)
  const file = definition.secret ? variableOf(environment, `${name}_FILE`) : undefined
  if (direct !== undefined && direct !== '' && file !== undefined && file !== '')
    throw new Error(`is set twice: as ${name} and as ${name}_FILE; keep one`)
  if (file !== undefined && file !== '') {
    try {
      return readTextSync(file).trim()
    } catch (error) {
      throw new Error(`cannot be read from ${name}_FILE ${file} (${reasonOf(error)})`)
    }
  }
  return direct === '' ? undefined : direct
}

function warningsOf(schema: SettingsSchema, environment: Environment, ignored: readonly string[]): string[] {
  const known = Object.entries(schema).flatMap(([name, { secret }]) => (secret ? [name, `${name}_FILE`] : [name]))
  const warnings: string[] = []
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined || value === '') continue
    if (known.includes(name)) {
      if (QUOTED.test(value.trim()))
        warnings.push(`${name} is written in quotes, which are no part of a value: leave them out`)
      continue
    }
    if (ignored.some((known) => (known.endsWith('*') ? name.startsWith(known.slice(0, -1)) : name === known))) {
      warnings.push(`${name} is accepted and ignored`)
      continue
    }
    const near = known.find((candidate) => isOneEditAway(name, candidate))
    if (near !== undefined) warnings.push(`${name} is not a setting: did you mean ${near}?`)
  }
  return warnings
}

/** Whether a warning says which name was meant. */
export const isHint = (warning: string): boolean => warning.includes('did you mean')

/** Whether one inserted, removed, changed or swapped letter turns `a` into `b`. */
function isOneEditAway(a: string, b: string): boolean {
  if (a === b || Math.abs(a.length - b.length) > 1 || Math.min(a.length, b.length) < 5) return false
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  const restA = a.slice(start, a.length - end)
  const restB = b.slice(start, b.length - end)
  if (restA.length <= 1 && restB.length <= 1) return true
  return restA.length === 2 && restA[0] === restB[1] && restA[1] === restB[0]
}

/** The schema as a Markdown table, for docs/reference/settings.md. */
export function settingsTable(schema: SettingsSchema): string {
  const rows = Object.entries(schema).map(([name, { shown, description, secret }]) => {
    const names = secret ? `\`${name}\` or \`${name}_FILE\`` : `\`${name}\``
    return `| ${names} | ${shown === '' ? 'unset' : shown === 'required' ? '**required**' : `\`${shown}\``} | ${description} |`
  })
  return ['| setting | default | meaning |', '|---|---|---|', ...rows].join('\n')
}

/** The schema as lines of `.env.example`: required settings stand open, the others commented out with their default, or an example. */
export function envExample(schema: SettingsSchema): string {
  return Object.entries(schema)
    .map(([name, { shown, fallback, description, example }]) =>
      [
        `# ${description}`,
        shown === 'required'
          ? `${name}=${example}`
          : `# ${name}=${shown === '' || fallback === undefined ? example : shown}`,
      ].join('\n'),
    )
    .join('\n\n')
}
