import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { findRelayer } from './relayer-http.ts'

/** Finds the relayer by a file of this content; without one where nothing is said. */
async function findBy(text?: string) {
  const folder = mkdtempSync(join(tmpdir(), 'dvt-relayer-http-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const endpointFile = join(folder, 'endpoint')
  if (text !== undefined) writeFileSync(endpointFile, text)
  const found = await findRelayer({ endpointFile, timeoutMs: 1, caFile: undefined } as never)
  return found.endpoint.href
}

it('the relayer is the URL that its file holds now', async () => {
  expect(await findBy('https://relayer.example/a\n')).toBe('https://relayer.example/a')
})

it.each([
  ['cannot be read', undefined, /RELAYER_ENDPOINT_FILE \S+endpoint cannot be read \(.*ENOENT/],
  ['holds no URL', 'my password', /RELAYER_ENDPOINT_FILE \S+endpoint must be a URL/],
])('a file that %s is named, and nothing of its text', async (_, text, message) => {
  const error = await findBy(text).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'RELAYER_ENDPOINT_INVALID', message: expect.stringMatching(message) })
  expect(String(error)).not.toContain('password')
})
