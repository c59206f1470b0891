import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  envExample,
  host,
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

  const databases = { URL: secret(url({ description: 'a database', example: 'postgres://u:p@h/d' }, ['postgres:'])) }

  it.each([
    'postgres://relayer:p@ss/w#rd@db.example:5432/relayer',
    'postgres://relayer:pa/ss@db.example/relayer',
    'postgres://relayer:p@ss/w?rd@db.example/relayer',
    'postgres://relayer:123/45@db.example/relayer',
    'postgres://relayer:pa?ss@db.example/relayer',
    'postgres://relayer:123?45@db.example/relayer',
    'postgres://relayer:pa#ss@db.example/relayer',
    'postgres://relayer:123#45@db.example/relayer',
    'postgres://relayer:100%@db.example/relayer',
    'postgres://relayer:word@db.example/relayer#1',
  ])('says to percent-encode %s, and shows nothing of it', (value) => {
    const told = (() => {
      try {
        readSettings(databases, { URL: value })
        return ''
      } catch (error) {
        return (error as Error).message
      }
    })()
    expect(told).toContain('URL is not read as it is meant: percent-encode the special characters')
    for (const part of ['relayer', 'db.example', 'ss', '123', '100', 'word'])
      expect(told.replace(/password|passes/g, '')).not.toContain(part)
  })

  it.each([
    'https://node-1:p/w@relayer.example',
    'https://node-1:1/2@relayer.example',
    'https://n:p@ss/w@relayer.example',
    'http://u:a,http://b',
  ])('says so of any URL: %s', (ENDPOINTS) => {
    expect(() => read({ NETWORK: 'a', ENDPOINTS })).toThrow('ENDPOINTS is not read as it is meant: percent-encode')
  })

  it.each([
    ['postgres://u:p%40ss%2Fw%23rd@h:5432/d?sslmode=require', 'h:5432'],
    ['postgres://u:p@ss@h/d', 'h'],
    ['postgres://h:5432/d?user=a@b&password=c@d', 'h:5432'],
    ['postgres:///d?host=/var/run/postgresql', ''],
    ['postgres://[::1]:5432/d', '[::1]:5432'],
  ])('reads %s as it is meant', (value, host) => {
    expect(readSettings(databases, { URL: value }).values.URL.host).toBe(host)
  })

  it.each([
    'https://rpc.example/v2/@key',
    'https://rpc.example/k?x=%zz',
    'https://node-1:100%@relayer.example',
    'http://a/#x',
  ])('goes on taking %s', (ENDPOINTS) => {
    expect(read({ NETWORK: 'a', ENDPOINTS }).values.ENDPOINTS.length).toBe(1)
  })

  it('takes quotes off that a shell would have taken off, and says so; of half a pair it says what to do', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'settings-')), 'password')
    writeFileSync(file, '"of the file"')
    const { values, warnings } = read({
      NETWORK: "'hoodi'",
      PORT: ' "1" ',
      ENDPOINTS: '"http://a, http://b"',
      PASSWORD_FILE: `"${file}"`,
    })
    expect(values).toMatchObject({ NETWORK: 'hoodi', PORT: 1, PASSWORD: '"of the file"' })
    expect(values.ENDPOINTS.map(({ host }) => host)).toEqual(['a', 'b'])
    expect(warnings).toEqual(
      ['NETWORK', 'PORT', 'ENDPOINTS', 'PASSWORD_FILE'].map(
        (name) => `${name} is written in quotes, which are no part of a value: leave them out`,
      ),
    )
    expect(read({ NETWORK: 'a', PORT: '""' }).values.PORT).toBe(8000)
    for (const half of ['"hoodi', "hoodi'", '"a","b"'])
      expect(() => read({ NETWORK: half })).toThrow('NETWORK has quotes in it: leave them out')
  })

  it('takes an IPv6 address to listen on with brackets and without', () => {
    const schema = { HOST: host({ description: 'where', example: '::1' }) }
    for (const HOST of ['[::1]', '::1', '"[::1]"']) expect(readSettings(schema, { HOST }).values.HOST).toBe('::1')
    expect(readSettings(schema, { HOST: '0.0.0.0' }).values.HOST).toBe('0.0.0.0')
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
    const sentry = { SENTRY_DSN: 'x', SENTRY_RELEASE: 'y', SENTRYX: 'z', SENTRY_EMPTY: '' }
    expect(read({ NETWORK: 'a', ...sentry }, ['SENTRY_*']).warnings).toEqual([
      'SENTRY_DSN is accepted and ignored',
      'SENTRY_RELEASE is accepted and ignored',
    ])
  })

  it('documents itself', () => {
    expect(settingsTable(schema)).toContain('| `PASSWORD` or `PASSWORD_FILE` | unset | a password |')
    expect(envExample(schema)).toContain('# the network\nNETWORK=hoodi')
    expect(envExample(schema)).toContain('# a port\n# PORT=8000')
  })
})
