/** A relayer behind TLS whose certificate is of a CA of one's own: RELAYER_CA_FILE, over real handshakes. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { readConfig } from '../../../../apps/sidecar/src/config.ts'
import { examine } from '../../../../apps/sidecar/src/doctor/doctor.ts'
import { loadFixtureCluster } from '../../../support/keys/fixtures.ts'
import { makeCa, type TestCertificate } from '../../../support/services/certificates.ts'
import { startProcess } from '../../../support/services/process.ts'
import { startStandInRelayer } from '../stand-in.ts'
import { expectAllRight, first, keysOf } from '../support.ts'

const { nodes } = loadFixtureCluster('cluster-4')
const ours = makeCa('our CA')
let folder: string
let caFile: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dvt-ca-'))
  caFile = join(folder, 'ca.pem')
  await writeFile(caFile, `\uFEFF# our CA\r\n${ours.cert}`)
})
afterAll(() => rm(folder, { recursive: true }))

/** A stand-in for a relayer behind a proxy that speaks TLS with this certificate. */
async function startBehindTls(certificate: TestCertificate = ours.issue('relayer')) {
  const relayer = await startStandInRelayer({ generation: 'ours' })
  const proxy = createServer({ key: certificate.key, cert: certificate.cert }, (asked, answer) => {
    const { method, url, headers } = asked
    const passed = httpRequest(`${relayer.url}${url}`, { method, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers)
      response.pipe(answer)
    })
    passed.on('error', () => answer.destroy())
    answer.on('close', () => passed.destroy())
    asked.pipe(passed)
  }).listen(0, '127.0.0.1')
  await new Promise((done) => proxy.once('listening', done))
  onTestFinished(async () => {
    proxy.closeAllConnections()
    proxy.close()
    await relayer[Symbol.asyncDispose]()
  })
  return { relayer, url: `https://node-1:top-secret@127.0.0.1:${(proxy.address() as AddressInfo).port}` }
}
const settings = (url: string, more: Record<string, string> = {}) => ({
  NETWORK: 'hoodi',
  RELAYER_ENDPOINT: url,
  OBOL_KEYSTORES_DIR: first(nodes).keystoresDir,
  JOURNAL_FILE: join(folder, 'deposits.journal'),
  ...more,
})

async function doctor(environment: Record<string, string>): Promise<string> {
  const options = { isQuick: true, onProgress: () => {}, signal: new AbortController().signal }
  const { findings } = await examine(environment, options)
  const text = JSON.stringify(findings.find(({ check }) => check === 'relayer'))
  expect(text).not.toContain('top-secret')
  return text
}

it('a sidecar signs by way of it, and its doctor is content', async () => {
  const { relayer, url } = await startBehindTls()
  relayer.addExit(keysOf('cluster-4')[0] ?? '', 7)
  await using sidecar = startProcess('sidecar', settings(url, { RELAYER_CA_FILE: caFile }))
  await relayer.until(() => relayer.posts.length > 0)
  expectAllRight('cluster-4', relayer.posts)
  expect(await doctor(settings(url, { RELAYER_CA_FILE: caFile }))).toContain('"status":"good"')
  expect(await sidecar.end('SIGTERM')).toBe(0)
})

it('is needed, and what is wrong is said by log and doctor', async () => {
  const { relayer, url } = await startBehindTls()
  await using sidecar = startProcess('sidecar', settings(url))
  await sidecar.logged('sidecar started')
  expect(sidecar.output()).toContain('its certificate is not signed by a CA that is trusted here')
  expect(sidecar.output()).not.toContain('top-secret')
  expect(await doctor(settings(url))).toContain('where that CA is your own, name its certificate in RELAYER_CA_FILE')
  const others = join(folder, 'others.pem')
  await writeFile(others, makeCa('another CA').cert)
  expect(await doctor(settings(url, { RELAYER_CA_FILE: others }))).toContain('the CA is not the one of RELAYER_CA_FILE')
  expect(relayer.seen).toEqual([])
})

it('does not make an expired certificate good', async () => {
  const { url } = await startBehindTls(ours.issue('relayer', { ended: true }))
  expect(await doctor(settings(url, { RELAYER_CA_FILE: caFile }))).toContain('its certificate has expired')
})

it.each([
  ['missing', undefined, /gone\.pem cannot be read \(ENOENT\); RELAYER_CA_FILE must name a PEM file/],
  ['no certificate', 'nothing', /holds no certificate/],
])('a file that is %s ends the start', async (_, content, words) => {
  const file = join(folder, content === undefined ? 'gone.pem' : 'odd.pem')
  if (content !== undefined) await writeFile(file, content)
  const environment = settings('https://127.0.0.1:1', { RELAYER_CA_FILE: file })
  await using sidecar = startProcess('sidecar', environment)
  expect(await sidecar.ended).toBe(1)
  expect(sidecar.output()).toMatch(words)
  expect(await doctor(environment)).toMatch(words)
})

it('means nothing without TLS', () => {
  expect(() => readConfig(settings('http://127.0.0.1:1', { RELAYER_CA_FILE: caFile }))).toThrow(
    'RELAYER_ENDPOINT must start with https:// where RELAYER_CA_FILE is given',
  )
})
