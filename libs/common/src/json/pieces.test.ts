import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type JsonPieces, type PieceSizes, parseJsonInPieces } from './pieces.ts'
import { parseJsonText } from './text.ts'

/** So small that short texts have many pieces. */
const SMALL: PieceSizes = { lookedThrough: 7, bytes: 5, values: 3, item: 10_000 }
const ALL: JsonPieces = { maxValues: 100_000, admit: () => {}, between: async () => {}, check: () => {} }
const parse = (text: string, options: Partial<JsonPieces> = {}, sizes = SMALL) =>
  parseJsonInPieces(Buffer.from(text), { ...ALL, ...options }, sizes)

/** The object that a text is, or that it is none. */
const outcome = async (parsed: () => unknown) => {
  try {
    const value = await parsed()
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : 'refused'
  } catch {
    return 'refused'
  }
}

const objects = fc.dictionary(
  fc.oneof(fc.string(), fc.constantFrom('__proto__', 'é"\\', '7')),
  fc.oneof(fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 12 }), fc.jsonValue({ maxDepth: 3 })),
)
/** What breaks JSON, or turns it into other JSON. */
const scraps = fc.constantFrom(
  '',
  ',',
  ':',
  '[',
  ']',
  '{',
  '}',
  '"',
  '\\',
  ' ',
  '0',
  ',,',
  '],[',
  '"a":[1,2,3,4,5],',
  'é',
)

afterEach(() => vi.restoreAllMocks())

describe('a long JSON text', () => {
  it('is what the parser makes of it, whatever its pieces', async () => {
    await fc.assert(
      fc.asyncProperty(objects, fc.constantFrom(undefined, 1), async (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        expect(await parse(text)).toEqual(JSON.parse(text))
        expect(await parse(` \n${text}\t\r`)).toEqual(JSON.parse(text))
      }),
    )
  })

  it('is refused wherever the parser refuses it, and nowhere else', async () => {
    await fc.assert(
      fc.asyncProperty(objects, fc.nat(), fc.nat({ max: 3 }), scraps, async (value, where, cut, scrap) => {
        const whole = JSON.stringify(value)
        const at = where % (whole.length + 1)
        const text = `${whole.slice(0, at)}${scrap}${whole.slice(at + cut)}`
        expect(await outcome(() => parse(text))).toEqual(await outcome(() => JSON.parse(text)))
      }),
      { numRuns: 3000 },
    )
  })

  it.each([
    ['a comma that ends a list', '{"a":[1,2,3,4,5,6,]}'],
    ['a comma that begins one', '{"a":[,1,2,3,4,5,6]}'],
    ['two commas', '{"a":[1,2,3,4,,5,6]}'],
    ['two lists', '{"a":[1,2,3,4][5,6,7,8]}'],
    ['brackets of two kinds', '{"a":[1,2,3,4,{"b":1],5]}'],
    ['a list that ends as an object', '{"a":[1,2,3,4,5,6}}'],
    ['an object that ends as a list', '{"a":1]'],
    ['a comma that ends it', '{"a":1,}'],
    ['a comma alone', '{,}'],
    ['no value', '{"a":}'],
    ['no name', '{:1}'],
    ['a number for a name', '{1:1}'],
    ['a field without a colon', '{"a"}'],
    ['two colons', '{"a"::1}'],
    ['no end', '{"a":[1,2,3,4,5'],
    ['a string without an end', '{"a":"b'],
    ['an escape at its end', '{"a":"b\\'],
    ['more behind it', '{"a":1} 1'],
    ['another one behind it', '{"a":1}{}'],
    ['one bracket too many', '{"a":1}}'],
    ['a byte order mark', '\ufeff{"a":1}'],
    ['nothing', ''],
    ['white space', '  '],
  ])('with %s is refused', async (_, text) => {
    expect(() => JSON.parse(text) as unknown).toThrow()
    await expect(parse(text)).rejects.toThrow(expect.objectContaining({ code: 'JSON_INVALID' }))
  })

  it('has to be an object', async () => {
    for (const text of ['[1,2,3]', '"hunter2"', '1', 'null'])
      await expect(parse(text)).rejects.toThrow(/^is no JSON object$/)
  })

  it('of fields that come twice has the last one', async () => {
    const text = '{"a":[1,2,3,4,5,6,7,8],"b":1,"a":[9,9,9,9,9,9,9,9,9]}'
    expect(await parse(text)).toEqual(JSON.parse(text))
  })

  it('counts values as short ones are counted', async () => {
    await fc.assert(
      fc.asyncProperty(objects, async (value) => {
        const text = JSON.stringify(value)
        const counts: number[] = []
        const admit = (values: number) => void counts.push(values)
        await parse(text, { admit })
        parseJsonText(text, 100_000, admit)
        const [counted = 0, short] = counts
        expect(counted).toBe(short)
        if (counted > 1)
          await expect(parse(text, { maxValues: counted - 1 })).rejects.toThrow(`holds more than ${counted - 1} values`)
      }),
    )
  })

  it('is not built where it may not be', async () => {
    const parser = vi.spyOn(JSON, 'parse')
    const admit = () => {
      throw new Error('no room')
    }
    await expect(parse('{"a":[1,2,3]}', { admit })).rejects.toThrow('no room')
    for (const text of ['{"a":'.repeat(33), `{"a":${'['.repeat(32)}`, `{"a":[${'0,'.repeat(5000)}${'['.repeat(31)}`])
      await expect(parse(text)).rejects.toThrow(expect.objectContaining({ code: 'JSON_TOO_DEEP' }))
    expect(parser).not.toHaveBeenCalled()
  })

  it('may be as deep as a short one', async () => {
    // With the object and its list, 32 levels.
    const deep = `${'['.repeat(30)}${']'.repeat(30)}`
    for (const item of [deep, `0,${deep},0`, `"b",${deep}`]) {
      const text = `{"a":[${item}]}`
      expect(await parse(text)).toEqual(parseJsonText(text, 100_000))
    }
  })

  it('is checked a piece at a time, and not parsed behind what is refused', async () => {
    const seen: [string, unknown, number][] = []
    const check = (...piece: [string, readonly unknown[], number]) => void seen.push(piece)
    await parse('{"a":[1,2,3,4,5,6,7,8],"b":["c"],"d":1}', { check }, { ...SMALL, bytes: 100 })
    expect(seen).toEqual([
      // The list itself is a value too.
      ['a', [1, 2], 0],
      ['a', [3, 4, 5], 2],
      ['a', [6, 7, 8], 5],
      ['b', ['c'], 0],
    ])
    // The same pieces by their bytes: the colon and what is up to a comma.
    const lengths: number[] = []
    const count = (_: string, items: readonly unknown[]) => void lengths.push(items.length)
    await parse('{"a":[1,2,3,4,5,6,7,8]}', { check: count }, { ...SMALL, bytes: 5, values: 100 })
    expect(lengths).toEqual([2, 3, 3])
    const parser = vi.spyOn(JSON, 'parse')
    const refuse = () => {
      throw new Error('not this')
    }
    await expect(parse('{"a":[1,2,3,4,5,6,7,8]}', { check: refuse })).rejects.toThrow('not this')
    // The name and one piece.
    expect(parser).toHaveBeenCalledTimes(2)
  })

  it('of megabytes is never worked on for long without a break', async () => {
    const item = `{"public_key":"${'0'.repeat(98)}","hints":[${'{},'.repeat(100)}{}]}`
    const texts: string[] = []
    const parser = vi.spyOn(JSON, 'parse')
    const many = `{"a":[${`${item},`.repeat(10_000)}${item}],"b":[${'0,'.repeat(50_000)}0]}`
    let atOnce = 0
    const between = async () => {
      atOnce = 0
    }
    parser.mockImplementation((text: string) => {
      texts.push(text)
      atOnce += text.length
      expect(atOnce).toBeLessThan(40_000)
      return text.startsWith('"') ? text.slice(1, -1) : [0]
    })
    await parseJsonInPieces(Buffer.from(many), { ...ALL, maxValues: 5_000_000, between })
    expect(texts.length).toBeGreaterThan(many.length / 40_000)
    // A piece of numbers is short of bytes and long of values.
    expect(Math.max(...texts.filter((text) => text.startsWith('[0')).map(({ length }) => length))).toBeLessThan(4200)
  })

  it('of many short fields has breaks by its length, not by its fields', async () => {
    const value = Object.fromEntries(Array.from({ length: 900 }, (_, n) => [`field ${n}`, Array(40).fill(1)]))
    let breaks = 0
    const between = async () => void breaks++
    const text = JSON.stringify(value)
    expect(await parseJsonInPieces(Buffer.from(text), { ...ALL, between })).toEqual(value)
    expect(text.length).toBeGreaterThan(80_000)
    expect(breaks).toBeLessThan(6)
  })

  it.each([
    ['an item', `{"a":[1,{"b":"${'c'.repeat(20)}"},2]}`],
    ['the last item', `{"a":[1,2,"${'c'.repeat(30)}"]}`],
    ['a list in an item', `{"a":[1,[${'0,'.repeat(15)}0],2]}`],
    ['a text', `{"a":"${'c'.repeat(30)}","b":1}`],
    ['an object', `{"a":{"b":1,"c":${'1'.repeat(30)}}}`],
    ['a name', `{"${'a'.repeat(30)}":1}`],
  ])('may not hold %s that cannot be cut', async (_, text) => {
    await expect(parse(text, {}, { ...SMALL, item: 20 })).rejects.toThrow(
      expect.objectContaining({ code: 'JSON_TOO_LONG' }),
    )
    expect(await parse(text, {}, { ...SMALL, item: 60 })).toEqual(JSON.parse(text))
  })

  it('is not looked through to the end of what is too long', async () => {
    for (const text of ['{"a":"', '{"', '{', '{"a":[[']) {
      let breaks = 0
      const between = async () => void breaks++
      const long = Buffer.from(`${text}${' '.repeat(10_000)}`)
      await expect(parseJsonInPieces(long, { ...ALL, between }, { ...SMALL, item: 20 })).rejects.toThrow(
        'holds a value of more than 20 bytes',
      )
      expect(breaks).toBeLessThan(5)
    }
  })

  it('may not have any number of fields', async () => {
    const fields = (count: number) => `{${Array.from({ length: count }, (_, n) => `"${n}":1`).join()}}`
    expect(Object.keys((await parse(fields(1000))) as object)).toHaveLength(1000)
    await expect(parse(fields(1001))).rejects.toThrow(/^has more than 1000 fields$/)
  })
})
