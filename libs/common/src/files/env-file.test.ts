import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { loadEnvFile } from './env-file.ts'

function folderWith(content?: string | Uint8Array): string {
  const folder = mkdtempSync(join(tmpdir(), 'dvt-env-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  if (content !== undefined) writeFileSync(join(folder, '.env'), content)
  return folder
}

it('sets what the environment has not, as Node does, and says the names', () => {
  const environment: Record<string, string | undefined> = { NETWORK: 'gnosis', EMPTY: '' }
  const text = `# a comment
NETWORK=hoodi
export RELAYER_PORT = "8080" # the port
MANY='line one
line=two'
EMPTY=not this
LAST=`
  const folder = folderWith(text)
  expect(loadEnvFile(environment, folder)).toEqual({
    file: join(folder, '.env'),
    names: ['LAST', 'MANY', 'RELAYER_PORT'],
    kept: ['EMPTY', 'NETWORK'],
    problem: undefined,
  })
  expect(environment).toEqual({
    NETWORK: 'gnosis',
    EMPTY: '',
    RELAYER_PORT: '8080',
    MANY: 'line one\nline=two',
    LAST: '',
  })
})

it.each([
  ['a byte order mark', '\uFEFFNETWORK=hoodi\nROLE=api\n'],
  ['line ends of Windows', 'NETWORK=hoodi\r\n\r\nROLE=api\r\n'],
])('%s is no part of the text', (_, text) => {
  const environment = {}
  loadEnvFile(environment, folderWith(text))
  expect(environment).toEqual({ NETWORK: 'hoodi', ROLE: 'api' })
})

it('is not missed where there is none', () => {
  expect(loadEnvFile({}, folderWith())).toBeUndefined()
})

it.each([
  ['a line that is nothing', 'NETWORK=hoodi\n\ntop-secret\n', /line 3 is neither NAME=value nor a comment/],
  ['a name alone after a value of two lines', 'A="1\n2"\nB', /line 3 is/],
  ['UTF-16', Buffer.from('\uFEFFNETWORK=hoodi', 'utf16le'), /UTF-16/],
  ['Latin-1', Buffer.from('NAME=caf\xe9', 'latin1'), /not UTF-8/],
])('sets nothing of a file that is broken: %s', (_, content, words) => {
  const environment = {}
  const problem = loadEnvFile(environment, folderWith(content))?.problem
  expect(problem).toMatchObject({ code: 'ENV_FILE_INVALID', message: expect.stringMatching(words) })
  expect(problem?.message).not.toContain('top-secret')
  expect(environment).toEqual({})
})

it('says that a folder is no file', () => {
  const folder = folderWith()
  mkdirSync(join(folder, '.env'))
  expect(loadEnvFile({}, folder)?.problem?.message).toContain('EISDIR')
})
