import { describe, expect, it } from 'vitest'
import { CodedError } from '../errors.ts'
import { createLogger, describeError, scrub } from './logger.ts'

const secretHex = 'ab'.repeat(32)

function capture(format: 'plain' | 'json') {
  const lines: string[] = []
  return { lines, logger: createLogger({ level: 'debug', format, destination: { write: (line) => lines.push(line) } }) }
}

describe('logger', () => {
  it('writes one JSON object a line with the level as a word', () => {
    const { lines, logger } = capture('json')
    logger.info({ count: 2 }, 'exits requested')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', count: 2, msg: 'exits requested' })
  })

  it('writes plain lines', () => {
    const { lines, logger } = capture('plain')
    logger.warn({ file: 'a' }, 'something')
    expect(lines[0]).toMatch(/^\d{4}-.* WARN {2}something {2}file=a\n$/)
  })

  it('keeps a plain line one line, whatever a field holds', () => {
    const { lines, logger } = capture('plain')
    logger.warn({ cid: 'a\n2026 ERROR forged' }, 'something')
    expect(lines[0]).toMatch(/ {2}cid="a\\n2026 ERROR forged"\n$/)
  })

  it('takes long hex and URL credentials out of errors and keeps no foreign fields', () => {
    const cause = Object.assign(new Error(`insert failed: ${secretHex} at http://user:pass@host/`), {
      detail: secretHex,
      query: 'q',
    })
    const text = JSON.stringify(describeError(new CodedError('X', 'wrapped', { cause })))
    expect(text).not.toContain(secretHex)
    expect(text).not.toContain('user:pass')
    expect(text).toContain('<hex>')
    expect(text).not.toContain('query')
  })

  it('leaves short hex alone', () => {
    expect(scrub('0x8ae5c1046158526cf236f74d8fb88fabe2e94aca')).toContain('0x8ae5')
  })
})
