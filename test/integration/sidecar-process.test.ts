/** The sidecar as a process: exit codes, signals, what it prints. */

import { describe, expect, it } from 'vitest'
import { loadFixtureCluster } from '../support/fixtures.ts'
import { startProcess } from '../support/process.ts'
import { startStandInRelayer } from './sidecar-stand-in.ts'
import { expectAllRight, first, keysOf } from './sidecar-support.ts'

const { nodes } = loadFixtureCluster('cluster-4')
const OBOL_KEYSTORES_DIR = first(nodes).keystoresDir

describe('sidecar process', () => {
  it('prints every wrong setting and ends with 1', async () => {
    await using sidecar = startProcess('sidecar', { NETWORK: 'nowhere', CLUSTER_TYPE: 'ssv' })
    expect(await sidecar.ended).toBe(1)
    for (const name of ['NETWORK', 'RELAYER_ENDPOINT', 'CLUSTER_TYPE', 'OBOL_KEYSTORES_DIR'])
      expect(sidecar.output()).toContain(`- ${name} `)
    expect(sidecar.output()).not.toContain('    at ')
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
    const start = performance.now()
    expect(await sidecar.end(signal)).toBe(0)
    expect(performance.now() - start).toBeLessThan(5000)
    expect(sidecar.output()).toContain('sidecar stopping')
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
