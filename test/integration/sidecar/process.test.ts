/** The sidecar as a process: exit codes, signals, what it prints. */

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { networks } from '../../../libs/chain/src/networks.ts'
import { toHex } from '../../../libs/common/src/hex.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { startProcess } from '../../support/services/process.ts'
import { startStandInRelayer } from './stand-in.ts'
import { expectAllPairsRight, expectAllRight, first, journalFolder, keysOf } from './support.ts'

const { nodes } = loadFixtureCluster('cluster-4')
const OBOL_KEYSTORES_DIR = first(nodes).keystoresDir

describe('sidecar process', () => {
  it('prints every wrong setting and ends with 1', async () => {
    await using sidecar = startProcess('sidecar', { NETWORK: 'nowhere', CLUSTER_TYPE: 'other' })
    expect(await sidecar.ended).toBe(1)
    for (const name of ['NETWORK', 'RELAYER_ENDPOINT', 'CLUSTER_TYPE']) expect(sidecar.output()).toContain(`- ${name} `)
    expect(sidecar.output()).not.toContain('    at ')
    expect(sidecar.output()).toContain('\nsee docs/operating/runbook.md#settings_invalid\n')
  })

  it('ends with 1 where the relayer is of another network', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours', network: 'gnosis' })
    const environment = { NETWORK: 'hoodi', RELAYER_ENDPOINT: relayer.url, OBOL_KEYSTORES_DIR }
    await using sidecar = startProcess('sidecar', environment)
    expect(await sidecar.ended).toBe(1)
    expect(sidecar.output()).toContain('is of another network than NETWORK=hoodi')
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('works until %s, then ends with 0 while a question waits', async (signal) => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(keysOf('cluster-4')[0] ?? '', 7)
    const environment = { NETWORK: 'hoodi', RELAYER_ENDPOINT: relayer.url, OBOL_KEYSTORES_DIR }
    await using sidecar = startProcess('sidecar', environment)
    await relayer.until(() => relayer.posts.length > 0)
    await relayer.until(() => relayer.seen.some(({ query }) => query.has('wait')))
    expect(await sidecar.end(signal)).toBe(0)
    expect(sidecar.output()).toContain('sidecar stopping')
    // The question is given up: its 25 s do not go by, nor the time after which a release is not waited for any more.
    expect(sidecar.output()).not.toContain('release failed')
    expectAllRight('cluster-4', relayer.posts)
  })

  it('ends with 0 when it is stopped while it decrypts', async () => {
    const secure = first(loadFixtureCluster('cluster-dkg').nodes)
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const environment = { NETWORK: 'hoodi', RELAYER_ENDPOINT: relayer.url, OBOL_KEYSTORES_DIR: secure.keystoresDir }
    await using sidecar = startProcess('sidecar', environment)
    await relayer.until(() => relayer.seen.length > 0)
    expect(await sidecar.end('SIGTERM')).toBe(0)
  })
})

describe('deposit journal of a process', () => {
  it('holds when the process is killed before its post arrives, again and again, with another vault each time', async () => {
    await using folder = await journalFolder()
    const cluster = await makeCluster({
      dir: dirname(folder.file('cluster')),
      nodes: 3,
      threshold: 2,
      validators: 3,
      network: networks.hoodi,
      withdrawalAddress: new Uint8Array(),
      feeRecipient: randomBytes(20),
    })
    const keys = cluster.validators.map(({ publicKey }) => toHex(publicKey))
    const vaultOf = (round: number) => `0x${String(round + 1).padStart(40, '0')}`
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const environment = {
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: relayer.url,
      OBOL_KEYSTORES_DIR: first(cluster.nodes).keystoresDir,
      JOURNAL_FILE: folder.file(),
    }
    const bound = async () =>
      (await readFile(folder.file(), 'utf8')).split('\n').flatMap((line) => {
        const [key, vault] = line.startsWith('0x') ? line.split(' ') : []
        return key === undefined ? [] : [[key, vault]]
      })
    const refused: unknown[] = []
    for (const round of keys.keys()) {
      await using sidecar = startProcess('sidecar', environment)
      const killed = Promise.withResolvers<void>()
      relayer.hook = ({ path }) => {
        if (path !== '/signatures') return undefined
        sidecar.child.kill('SIGKILL')
        killed.resolve()
        return { status: 500, body: {} }
      }
      for (const key of keys.slice(0, round + 1)) relayer.addValidator(key, 100 + round, { vault: vaultOf(round) })
      await killed.promise
      await sidecar.ended
      expect(await bound()).toEqual(keys.slice(0, round + 1).map((key, position) => [key, vaultOf(position)]))
      refused.push(
        ...sidecar
          .output()
          .split('\n')
          .filter((line) => line.includes('"vault_changed"')),
      )
    }
    expect(refused.length).toBe(keys.length - 1)

    // What each was bound to first is signed.
    relayer.hook = undefined
    for (const [position, key] of keys.entries())
      relayer.addValidator(key, 200 + position, { vault: vaultOf(position) })
    await using _sidecar = startProcess('sidecar', environment)
    await relayer.until(() => relayer.pairs.length >= keys.length)
    expect(relayer.pairs.map(({ publicKey, listed }) => [publicKey, listed?.vault])).toEqual(
      keys.map((key, position) => [key, vaultOf(position)]),
    )
  })

  it('lets one sidecar in: a second one ends with 1, and one that was killed stands in nobody’s way', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(keysOf('cluster-4')[0] ?? '', 7)
    const environment = {
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: relayer.url,
      OBOL_KEYSTORES_DIR,
      JOURNAL_FILE: folder.file(),
    }
    await using sidecar = startProcess('sidecar', environment)
    await relayer.until(() => relayer.pairs.length > 0)
    expectAllPairsRight('cluster-4', relayer.pairs)
    await using second = startProcess('sidecar', environment)
    expect(await second.ended).toBe(1)
    expect(second.output()).toContain(
      `another sidecar uses the deposit journal ${folder.file()}: stop it, or give each`,
    )
    await sidecar.end('SIGKILL')
    await using third = startProcess('sidecar', environment)
    expect(await third.logged('deposit journal opened')).toMatchObject({ keys: 1, journal: folder.file() })
    await third.logged('sidecar started')
    expect(await third.end('SIGTERM')).toBe(0)
  })
})
