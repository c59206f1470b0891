/** The search for secrets in what programs print. */

/** Something that must not be printed. `kind` says what it is without saying it. */
export interface Secret {
  kind: string
  /** Raw bytes, or text such as a password. */
  value: Uint8Array | string
}

export interface Leak {
  kind: string
  /** Where it was found. */
  file: string
  line: number
  spelling: string
}

/** A text to look for. */
interface Needle {
  text: string
  kind: string
  spelling: string
}

/** Half of a secret is one too many: its first and its last 16 bytes are looked for, so that a shortened one is found. */
const PIECE = 16
/** Programs that print bytes as a list or with gaps between them often end early. */
const LISTED = 8

/**
 * The stable characters of the base64 of bytes that stand at any place in something longer: 3 bytes make 4 characters, so
 * there are three ways to begin, and what the neighbours have a part in is cut off.
 */
function base64Pieces(bytes: Uint8Array): string[] {
  return [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    return text.slice(Math.ceil((shift * 4) / 3), Math.floor(((shift + bytes.length) * 4) / 3))
  })
}

function needlesOf({ kind, value }: Secret): Needle[] {
  const needle = (spelling: string) => (text: string) => ({ text, kind, spelling })
  if (typeof value === 'string') {
    const bytes = Buffer.from(value)
    return [
      needle('text')(value.toLowerCase()),
      needle('hex')(bytes.toString('hex')),
      ...base64Pieces(bytes).map(needle('base64')),
    ]
  }
  const bytes = Buffer.from(value)
  const pieces = [bytes.subarray(0, PIECE), bytes.subarray(-PIECE)]
  const start = [...bytes.subarray(0, LISTED)]
  return [
    ...pieces.map((piece) => needle('hex')(piece.toString('hex'))),
    ...pieces.flatMap(base64Pieces).map(needle('base64')),
    needle('decimal')(BigInt(`0x${bytes.toString('hex')}`).toString()),
    needle('list of bytes')(start.join(',')),
    needle('object of bytes')(start.map((byte, position) => `"${position}":${byte}`).join(',')),
    needle('bytes with gaps')(start.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')),
  ]
}

/** One text in the forms that needles are looked for in. */
interface Haystack {
  plain: string
  lower: string
  tight: string
  base64: string
}

function haystackOf(text: string): Haystack {
  const lower = text.toLowerCase()
  return {
    plain: text,
    lower,
    tight: lower.replace(/[^\S\n]+/g, ''),
    base64: text.replaceAll('-', '+').replaceAll('_', '/'),
  }
}

function placeOf(haystack: Haystack, { text, spelling }: Needle): number {
  const [where, what] =
    spelling === 'base64'
      ? [haystack.base64, text]
      : spelling.startsWith('list') || spelling.startsWith('object')
        ? [haystack.tight, text]
        : [haystack.lower, text]
  const at = where.indexOf(what)
  return at < 0 ? -1 : where.slice(0, at).split('\n').length
}

/**
 * Looks for every secret in every text: as hex in any letter case with or without `0x`, base64 and base64url (also inside
 * something longer), decimal number, list of bytes; passwords as they are, too.
 *
 * @param texts what was printed, by the name of its file
 */
export function findLeaks(texts: ReadonlyMap<string, string>, secrets: readonly Secret[]): Leak[] {
  const needles = secrets.flatMap(needlesOf)
  return [...texts].flatMap(([file, text]) => {
    const haystack = haystackOf(text)
    return needles.flatMap((needle): Leak[] => {
      const line = placeOf(haystack, needle)
      return line < 0 ? [] : [{ kind: needle.kind, file, line, spelling: needle.spelling }]
    })
  })
}
