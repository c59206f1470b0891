/** A sidecar that asks the relayer whom it takes it for: what is wrong is said before anything is signed, and nothing depends on an answer. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Whoami } from '@dvt-relayer/api/schemas.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { describe, expect, it } from 'vitest'
import { createToken } from '../../../../apps/relayer/src/http/auth/tokens.ts'
import { examine } from '../../../../apps/sidecar/src/doctor/doctor.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { loadFixtureCluster } from '../../../support/keys/fixtures.ts'
import { eventually, startWorld } from '../../../support/world/world.ts'
import { type RelayerOptions, type StandInRelayer, startStandInRelayer } from '../stand-in.ts'
import { configOf, first, isRight, journalFolder, keysOf, recordingLogger } from '../support.ts'

const NAME = 'cluster-4'
const LOCK_HASH = '0xb84f4ba95344f3c4f218867c2567da012848c0380b2f046ae010ac655eafa01f'
const KEY = first(keysOf(NAME))

const whoami = (more: Partial<Whoami> = {}): Whoami => ({
  name: 'node-1',
  role: 'sidecar',
  binding: { vaults: null, oracles: null, share_indexes: [1] },
  clusters: [
    { name: 'ours', source: 'lock', lock_hash: LOCK_HASH, threshold: 3, validators: 12, share_indexes: [1, 2, 3, 4] },
  ],
  takes_any_key: false,
  network: 'hoodi',
  version: '0.2.0',
  time: Math.floor(Date.now() / 1000),
  ...more,
})
const OF_NODE_2 = { name: 'node-2', binding: { vaults: null, oracles: null, share_indexes: [2] } }
const FOREIGN =
  'the token node-2 is bound to share index 2, and this sidecar signs for 1: it is the token of another node'
const UNKNOWN = `the relayer does not know the cluster lock ${LOCK_HASH.slice(0, 34)}… (CLUSTER_LOCK_FILES there)`
const foreignCluster = { ...first(whoami().clusters), lock_hash: `0x${'00'.repeat(32)}` }

/** A relayer that says this of whoever asks. */
async function saying(body: unknown, status = 200, options: RelayerOptions = { generation: 'ours' }) {
  const relayer = await startStandInRelayer(options)
  relayer.hook = ({ path }) => (path === '/whoami' ? { status, body } : undefined)
  relayer.addExit(KEY, 7)
  return relayer
}

/** What a sidecar finds at this relayer, and what stood before it when it posted. */
async function findingsAt(relayer: StandInRelayer) {
  const { logger, find } = recordingLogger()
  await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), { logger })
  let known: Record<string, unknown>[] = []
  await relayer.until(() => {
    if (relayer.posts.length > 0) return true
    known = find('found at start', { check: 'relayer' })
    return false
  })
  expect(isRight(NAME, first(relayer.posts))).toBe(true)
  return known
}

/** Each request says from which program it is, and which time that has. */
function assertIntroduced({ seen }: StandInRelayer): void {
  expect(seen.length).toBeGreaterThan(0)
  for (const { headers } of seen) {
    expect(headers['user-agent']).toBe(`dvt-relayer-sidecar/${VERSION}`)
    expect(Math.abs(Date.parse(String(headers['date'])) - Date.now())).toBeLessThan(120_000)
  }
}

describe('at its start', () => {
  it.each([
    ['the token of another node', OF_NODE_2, [FOREIGN]],
    ['a cluster the relayer does not know', { clusters: [foreignCluster] }, [UNKNOWN]],
    [
      'a clock that is off',
      { time: Math.floor(Date.now() / 1000) + 3600 },
      [expect.stringMatching(/^the relayer's clock is 3[56]\d\d s ahead of this machine's: set both by NTP$/)],
    ],
  ])('a sidecar says %s before it posts anything', async (_what, more, details) => {
    await using relayer = await saying(whoami(more))
    expect(await findingsAt(relayer)).toMatchObject([{ level: 'warn', details }])
  })

  it('it says whom it is taken for where all is right, and itself who it is and what time it has', async () => {
    await using relayer = await saying(whoami())
    const [found, ...more] = await findingsAt(relayer)
    expect(more).toEqual([])
    expect(found).toMatchObject({
      level: 'info',
      finding: `${new URL(relayer.url).host} is dvt-relayer 0.2.0 and takes us for node-1 (sidecar)`,
    })
    expect(found).not.toHaveProperty('details')
    assertIntroduced(relayer)
    // One question, before the first list.
    const paths = relayer.seen.map(({ path }) => path)
    expect(paths.filter((path) => path === '/whoami')).toHaveLength(1)
    expect(paths.indexOf('/whoami')).toBeLessThan(paths.indexOf('/exits'))
  })

  it.each([
    ['does not have the answer', { detail: 'Not Found' }, 404, 'existing'],
    ['takes the path for another one', { detail: 'Method Not Allowed' }, 405, 'existing'],
    ['answers something else', '<html>', 200, 'ours'],
    ['answers lies of another shape', whoami({ version: '\u001b[31m' }), 200, 'ours'],
    ['fails', {}, 500, 'ours'],
  ] as const)('it signs as ever for a relayer that %s', async (_what, body, status, generation) => {
    await using relayer = await saying(body, status, { generation })
    expect(await findingsAt(relayer)).toEqual([])
  })
})

describe('with the relayer itself', () => {
  it('a sidecar with the token of another node says so, and one with its own is seen with program and clock', async () => {
    await using world = await startWorld({ oracles: 3, threshold: 2 })
    const [mine, other] = [createToken('node-1', 'sidecar', '1'), createToken('node-2', 'sidecar', '2')]
    const file = join(world.dir, 'tokens')
    await writeFile(file, `${mine.line}\n${other.line}\n`)
    const { lockFile } = loadFixtureCluster(NAME)
    await using relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: lockFile, AUTH_TOKENS_FILE: file })
    const seen = (name: string) =>
      eventually(`${name} is seen`, async () => {
        const [row] = await world.query(
          'select share_index::int, refusal_code, software, version, clock_difference_seconds from nodes_seen where token_name = $1',
          [name],
        )
        return row
      })
    const start = async (name: string, { token }: { token: string }) => {
      const { logger, find } = recordingLogger()
      const url = relayer.url.replace('//', `//me:${token}@`)
      await using _sidecar = await startSidecar(configOf(NAME, 0, url), { logger })
      const found = await eventually('a finding', async () => find('found at start', { check: 'relayer' })[0])
      return { found, row: await seen(name) }
    }
    expect((await start('node-2', other)).found).toMatchObject({ level: 'warn', details: [FOREIGN] })
    const { found, row } = await start('node-1', mine)
    expect(found).toMatchObject({ level: 'info', finding: expect.stringMatching(/takes us for node-1 \(sidecar\)$/) })
    expect(row).toEqual({
      share_index: 1,
      refusal_code: null,
      software: 'dvt-relayer-sidecar',
      version: VERSION,
      clock_difference_seconds: expect.toSatisfy((seconds: number) => Math.abs(seconds) < 60),
    })
  })
})

describe('doctor', () => {
  async function relayerFinding(relayer: StandInRelayer) {
    await using folder = await journalFolder()
    const environment = {
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: relayer.url,
      RELAYER_TIMEOUT: '60',
      OBOL_KEYSTORES_DIR: loadFixtureCluster(NAME).nodes[0]?.keystoresDir ?? '',
      JOURNAL_FILE: folder.file(),
    }
    const options = { isQuick: false, onProgress: () => {}, signal: new AbortController().signal }
    const { healthy, findings } = await examine(environment, options)
    return { healthy, found: findings.find(({ check }) => check === 'relayer') }
  }

  it.each([
    ['the token of another node', OF_NODE_2, [FOREIGN]],
    ['a cluster the relayer does not know', { clusters: [foreignCluster] }, [UNKNOWN]],
  ])('has a problem with %s', async (_what, more, details) => {
    await using relayer = await saying(whoami(more))
    const { healthy, found } = await relayerFinding(relayer)
    expect(healthy).toBe(false)
    expect(found).toMatchObject({ status: 'problem', details, facts: { version: '0.2.0', role: 'sidecar' } })
  })

  it('finds nothing wrong where all is right, nor with a relayer that does not say', async () => {
    await using ours = await saying(whoami())
    expect(await relayerFinding(ours)).toMatchObject({
      healthy: true,
      found: { status: 'good', details: [], facts: { version: '0.2.0', token: 'node-1' } },
    })
    await using keyed = await saying(whoami({ identity: 'token' }))
    expect((await relayerFinding(keyed)).found?.message).toMatch(/; it takes us for node-1 \(sidecar\), by its token$/)
    // What the relayer knows of the sidecar beside it stays known.
    assertIntroduced(ours)
    await using older = await saying({ detail: 'Not Found' }, 404, { generation: 'existing' })
    const { healthy, found } = await relayerFinding(older)
    expect(healthy).toBe(true)
    expect(found?.facts).not.toHaveProperty('version')
  })
})
