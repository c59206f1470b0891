/** A sidecar as a process reads keys, lock and the relayer's endpoint again on SIGHUP; what is broken changes nothing and is named. */

import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Ready } from '@dvt-relayer/api/schemas.ts'
import { expect, it, onTestFinished } from 'vitest'
import { findFreePorts } from '../../../demo/ports.ts'
import { loadFixtureCluster } from '../../../support/keys/fixtures.ts'
import { startProcess } from '../../../support/services/process.ts'
import { ask, eventually } from '../../../support/world/world.ts'
import { startStandInRelayer } from '../stand-in.ts'
import { expectAllRight, first, keysOf } from '../support.ts'

const NODE = first(loadFixtureCluster('cluster-4').nodes)

it('keys and token', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'dvt-sidecar-hup-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  await cp(NODE.dir, join(dir, 'node'), { recursive: true })
  const keystores = join(dir, 'node/validator_keys')
  const second = ['keystore-insecure-1.json', 'keystore-insecure-1.txt']
  for (const name of second) await rm(join(keystores, name))
  await using relayer = await startStandInRelayer({ generation: 'ours' })
  const tokenOf = (token: string) => `Basic ${Buffer.from(`node-1:${token}`).toString('base64')}`
  let token = 'old-top-secret'
  relayer.hook = ({ headers }) =>
    headers['authorization'] === tokenOf(token)
      ? undefined
      : { status: 401, body: { code: 'TOKEN_UNKNOWN', message: 'no', request_id: '1' } }
  const endpointFile = join(dir, 'endpoint')
  const endpointWith = (one: string) => relayer.url.replace('//', `//node-1:${one}@`)
  await writeFile(endpointFile, `${endpointWith(token)}\n`)
  const [port = 0] = await findFreePorts(1)
  await using sidecar = startProcess('sidecar', {
    NETWORK: 'hoodi',
    RELAYER_ENDPOINT_FILE: endpointFile,
    OBOL_KEYSTORES_DIR: keystores,
    JOURNAL_FILE: join(dir, 'deposits.journal'),
    RELOAD_INTERVAL: '3600',
    POLL_INTERVAL: '1',
    SIDECAR_PORT: String(port),
  })
  await sidecar.logged('sidecar started')
  const check = async (name: string) => {
    const { json } = await ask(`http://127.0.0.1:${port}`, '/ready')
    return (json as Ready).checks[name]
  }
  const keys = keysOf('cluster-4')
  for (const key of keys.slice(0, 2)) relayer.addExit(key, 7)
  const posted = (key: string | undefined) => () => relayer.posts.some(({ publicKey }) => publicKey === key)
  await relayer.until(posted(keys[0]))
  expect(posted(keys[1])()).toBe(false)

  // Another key comes.
  for (const name of second.toReversed()) await cp(join(NODE.keystoresDir, name), join(keystores, name))
  sidecar.child.kill('SIGHUP')
  await relayer.until(posted(keys[1]))

  // Another token, first in a file that is broken.
  await writeFile(endpointFile, 'nonsense-top-secret')
  sidecar.child.kill('SIGHUP')
  await eventually('the file is named', async () => {
    const { message = '' } = (await check('keys')) ?? {}
    return message.includes(`RELAYER_ENDPOINT_FILE ${endpointFile} must be a URL`) ? true : undefined
  })
  relayer.addExit(keys[0] ?? '', 8)
  await relayer.until(() => relayer.posts.some(({ validatorIndex }) => validatorIndex === 8))
  await writeFile(endpointFile, endpointWith('new-top-secret'))
  token = 'new-top-secret'
  sidecar.child.kill('SIGHUP')
  await eventually('all is well', async () => ((await check('keys'))?.ok === true ? true : undefined))
  relayer.addExit(keys[0] ?? '', 9)
  await relayer.until(() => relayer.posts.some(({ validatorIndex }) => validatorIndex === 9))
  expectAllRight('cluster-4', relayer.posts)
  expect(sidecar.output()).not.toContain('top-secret')
  expect(await sidecar.end('SIGTERM')).toBe(0)
})
