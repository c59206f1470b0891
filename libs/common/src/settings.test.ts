import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  envExample,
  integer,
  list,
  oneOf,
  optional,
  readSettings,
  secret,
  settingsTable,
  text,
  url,
  withDefault,
} from './settings.ts'

const schema = {
  NETWORK: text({ description: 'the network', example: 'hoodi' }),
  PORT: withDefault(integer(0, 65_535, { description: 'a port', example: '8000' }), 8000),
  MODE: withDefault(oneOf(['plain', 'json'], { description: 'a mode', example: 'json' }), 'plain' as const),
  ENDPOINTS: withDefault(list(url({ description: 'urls', example: 'http://a' })), []),
  PASSWORD: optional(secret(text({ description: 'a password', example: 'x' }))),
}
const read = (environment: Record<string, string>, ignored: string[] = []) => readSettings(schema, environment, ignored)

describe('readSettings', () => {
  it('reads values and defaults', () => {
    const { values, warnings } = read({ NETWORK: 'hoodi', PORT: '1', MODE: 'JSON', ENDPOINTS: 'http://a, https://b' })
    expect(values).toMatchObject({ NETWORK: 'hoodi', PORT: 1, MODE: 'json', PASSWORD: undefined })
    expect(values.ENDPOINTS.map(({ host }) => host)).toEqual(['a', 'b'])
    expect(warnings).toEqual([])
  })

  it('lists every problem at once, each with the name and an example', () => {
    expect(() => read({ PORT: '99999', MODE: 'loud', ENDPOINTS: 'ftp://a' })).toThrow(
      /4 problems[\s\S]*NETWORK is required[\s\S]*NETWORK=hoodi[\s\S]*PORT must be[\s\S]*MODE must be[\s\S]*ENDPOINTS must be/,
    )
  })

  it('says beside a missing setting which name was meant for it', () => {
    expect(() => read({ NETWROK: 'hoodi' })).toThrow(/1 problem[\s\S]*NETWROK is not a setting: did you mean NETWORK/)
  })

  it.each(['http:name:password@host', '//host', 'host:80'])('wants the slashes of the URL %j', (ENDPOINTS) => {
    expect(() => read({ NETWORK: 'a', ENDPOINTS })).toThrow('ENDPOINTS must be a URL that starts with http://')
  })

  it.each(['1.5', '-1', '1e3', ' ', '0x10', '65536', 'NaN'])('does not coerce the number %j', (PORT) => {
    if (PORT.trim() === '') expect(read({ NETWORK: 'a', PORT }).values.PORT).toBe(8000)
    else expect(() => read({ NETWORK: 'a', PORT })).toThrow('PORT must be a whole number')
  })

  it('takes a secret from a file, and refuses two sources', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'settings-')), 'password')
    writeFileSync(file, 'from the file\n')
    expect(read({ NETWORK: 'a', PASSWORD_FILE: file }).values.PASSWORD).toBe('from the file')
    expect(() => read({ NETWORK: 'a', PASSWORD_FILE: file, PASSWORD: 'x' })).toThrow('PASSWORD is set twice')
    expect(() => read({ NETWORK: 'a', PASSWORD_FILE: `${file}.gone` })).toThrow(
      `PASSWORD cannot be read from PASSWORD_FILE ${file}.gone (ENOENT)`,
    )
  })

  it('warns of names one letter off, and notes ignored ones', () => {
    expect(
      read({ NETWORK: 'a', NETWROK: 'b', MODEE: 'x', PASWORD: 'y', VERBOSE: '1', HOME: '/' }, ['VERBOSE']).warnings,
    ).toEqual([
      'NETWROK is not a setting: did you mean NETWORK?',
      'PASWORD is not a setting: did you mean PASSWORD?',
      'VERBOSE is accepted and ignored',
    ])
  })

  it('documents itself', () => {
    expect(settingsTable(schema)).toContain('| `PASSWORD` or `PASSWORD_FILE` | unset | a password |')
    expect(envExample(schema)).toContain('# the network\nNETWORK=hoodi')
    expect(envExample(schema)).toContain('# a port\n# PORT=8000')
  })
})
