import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { parseJsonText } from './text.ts'

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
/** The values of a JSON value, itself and everything in it counted. */
const countOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? Object.values(value).reduce((sum, item) => sum + countOf(item), 1) : 1
/** An empty list or object is counted as if something were in it. */
const emptiesOf = (value: unknown): number => {
  if (typeof value !== 'object' || value === null) return 0
  const items = Object.values(value)
  return items.length === 0 ? 1 : items.reduce((sum: number, item) => sum + emptiesOf(item), 0)
}

afterEach(() => vi.restoreAllMocks())

describe('a JSON text', () => {
  it('is read as the parser reads it, up to exactly so many values', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        const values = countOf(value) + emptiesOf(value)
        expect(parseJsonText(text, values)).toEqual(JSON.parse(text))
        if (values > 1) expect(() => parseJsonText(text, values - 1)).toThrow(`holds more than ${values - 1} values`)
      }),
    )
  })

  it('has in its strings whatever it likes', () => {
    for (const inner of ['[[[,,{', '\\"[', '\\\\', '\\\\\\"[', '\\u005b', '']) {
      const text = `["${inner}","${inner}"]`
      expect(parseJsonText(text, 3)).toEqual(JSON.parse(text))
    }
    const long = `["${'[,'.repeat(1_000_000)}"]`
    expect(parseJsonText(long, 2)).toHaveLength(1)
    // Many escaped quotes cost no more than as many letters.
    expect(parseJsonText(`["${'\\"'.repeat(1_000_000)}"]`, 2)).toHaveLength(1)
  })

  it.each([
    ['brackets without an end', '['.repeat(2_000_000)],
    ['objects without an end', '{"a":'.repeat(2_000_000)],
    ['one level too many', nested(33)],
    ['one level too many, far behind', `[${'0,'.repeat(5_000)}${nested(32)}]`],
  ])('of %s never reaches the parser', (_, text) => {
    const parser = vi.spyOn(JSON, 'parse')
    expect(() => parseJsonText(text, 10_000)).toThrow(expect.objectContaining({ code: 'JSON_TOO_DEEP' }))
    expect(parser).not.toHaveBeenCalled()
    expect(parseJsonText(nested(32), 100)).toBeDefined()
  })

  it.each([
    ['numbers', `[${'0,'.repeat(2_000_000)}0]`],
    ['lists', `[${'[],'.repeat(2_000_000)}[]]`],
    ['fields', `{${'"":0,'.repeat(2_000_000)}"":0}`],
    ['commas', ','.repeat(2_000_000)],
  ])('of too many %s never reaches the parser', (_, text) => {
    const parser = vi.spyOn(JSON, 'parse')
    expect(() => parseJsonText(text, 1_000_000)).toThrow(expect.objectContaining({ code: 'JSON_TOO_MANY' }))
    expect(parser).not.toHaveBeenCalled()
  })

  it('that is none is not repeated', () => {
    for (const text of ['', 'hunter2', '"hunter2', '["hunter2\\"]', '[1', '{]', '}]'])
      expect(() => parseJsonText(text, 100)).toThrow(/^is not JSON$/)
  })
})
