import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatLine, HEADER, parseJournal } from './journal-lines.ts'

const FILE = 'deposits.journal'
const binding = (key: string, vault: string) => ({ publicKey: `0x${key.repeat(48)}`, vault: `0x${vault.repeat(20)}` })
const A = binding('aa', '11')
const B = binding('bb', '22')
const C = binding('cc', '11')
const JOURNAL = HEADER + formatLine(A) + formatLine(B) + formatLine(C)
const HEADER_LINES = HEADER.split('\n').length - 1

const parsedOf = (text: string) =>
  [...parseJournal(text, FILE).bindings].map(([key, { vault, line }]) => [key, vault, line])

describe('deposit journal', () => {
  it('has one line a validator: key, vault, and SHA-256 of both', () => {
    // printf '%s' '0xaa…aa 0x11…11' | sha256sum
    expect(formatLine(A)).toBe(`0x${'aa'.repeat(48)} 0x${'11'.repeat(20)} da1d5cf1\n`)
  })

  it('reads what it writes', () => {
    expect(parsedOf(JOURNAL)).toEqual(
      [A, B, C].map(({ publicKey, vault }, position) => [publicKey, vault, HEADER_LINES + position + 1]),
    )
    expect(parseJournal(JOURNAL, FILE)).toMatchObject({
      text: JOURNAL,
      lineCount: HEADER_LINES + 3,
      tornLine: undefined,
    })
    expect(parseJournal('', FILE)).toMatchObject({ text: '', lineCount: 0, tornLine: undefined })
  })

  it('keeps every whole line of a text that is cut off anywhere, and nothing of a broken one', () => {
    for (let length = 0; length <= JOURNAL.length; length++) {
      const cut = JOURNAL.slice(0, length)
      const { bindings, text, tornLine } = parseJournal(cut, FILE)
      const whole = [A, B, C].filter((each) => cut.includes(formatLine(each).trimEnd()))
      expect([...bindings.keys()]).toEqual(whole.map(({ publicKey }) => publicKey))
      expect(text === '' || text.endsWith('\n')).toBe(true)
      // What is kept is what was there, with a line break at most; what is not kept is said.
      expect(text.startsWith(cut) || cut.startsWith(text)).toBe(true)
      expect(tornLine !== undefined).toBe(text.length < cut.length)
      expect(parseJournal(text, FILE)).toMatchObject({ text, tornLine: undefined })
    }
  })

  it('takes what a crash left behind the last line for torn, whatever it is', () => {
    const rest = fc.string({ unit: fc.constantFrom('\0', ' ', '0', 'x', 'a', '\r'), minLength: 1 })
    fc.assert(
      fc.property(rest, (torn) => {
        expect(parseJournal(JOURNAL + torn, FILE)).toMatchObject({ text: JOURNAL, tornLine: HEADER_LINES + 4 })
      }),
    )
  })

  it('refuses a line that has its line break and was changed anywhere, and names it', () => {
    const line = formatLine(B)
    for (let position = 0; position < line.length - 1; position++)
      for (const other of ['0', 'f', ' ', 'X']) {
        if (line[position] === other) continue
        const changed = line.slice(0, position) + other + line.slice(position + 1)
        const read = () => parseJournal(formatLine(A) + changed + formatLine(C), FILE)
        expect(read).toThrow(/^line 2 of the deposit journal deposits\.journal is damaged: /)
      }
    expect(() => parseJournal(`${JOURNAL}garbage\n`, FILE)).toThrow(/is damaged/)
  })

  it('takes what an editor of another system adds, and says which encoding it cannot take', () => {
    const windows = `\u00ef\u00bb\u00bf${JOURNAL.replaceAll('\n', '\r\n')}`
    expect(parsedOf(windows)).toEqual(parsedOf(JOURNAL))
    expect(parseJournal(windows, FILE)).toMatchObject({ text: windows, tornLine: undefined })
    const withoutHeader = windows.replaceAll(/#.*\r\n/g, '')
    expect(parsedOf(withoutHeader).map(([key]) => key)).toEqual([A, B, C].map(({ publicKey }) => publicKey))
    const utf16 = Buffer.from(formatLine(A).trim(), 'utf16le')
    // Whether it is whole or was cut off within a character.
    for (const bytes of [Buffer.from(`\ufeff${JOURNAL}`, 'utf16le'), utf16, utf16.subarray(0, -1)])
      expect(() => parseJournal(bytes.toString('latin1'), FILE)).toThrow(
        'the deposit journal deposits.journal is UTF-16 (little endian) text: save it as UTF-8',
      )
  })

  it('takes comments, empty lines and a line that stands there twice', () => {
    const text = `# mine\n\n${formatLine(A)}# 0x…\n${formatLine(A)}${formatLine(B)}`
    expect(parsedOf(text)).toEqual([
      [A.publicKey, A.vault, 3],
      [B.publicKey, B.vault, 6],
    ])
  })

  it('refuses two vaults for one validator', () => {
    const text = formatLine(A) + formatLine(C) + formatLine({ ...A, vault: B.vault })
    expect(() => parseJournal(text, FILE)).toThrow(/lines 1 and 3 .* bind one validator to two vaults/)
  })

  it('counts a last line without its line break as any other', () => {
    const last = formatLine(C).trimEnd()
    expect(parsedOf(HEADER + formatLine(A) + last).at(-1)).toEqual([C.publicKey, C.vault, HEADER_LINES + 2])
    expect(parseJournal(HEADER + formatLine(A) + last, FILE)).toMatchObject({
      ...{ text: HEADER + formatLine(A) + formatLine(C), lineCount: HEADER_LINES + 2, tornLine: undefined },
    })
    const other = formatLine({ ...A, vault: C.vault === A.vault ? B.vault : C.vault }).trimEnd()
    expect(() => parseJournal(formatLine(A) + other, FILE)).toThrow(/lines 1 and 2 .* bind one validator to two vaults/)
  })

  it('forgets a validator whose line is removed, and no other', () => {
    expect(parsedOf(JOURNAL.replace(formatLine(B), '')).map(([key]) => key)).toEqual([A.publicKey, C.publicKey])
  })
})
