/** `sidecar doctor`: what it finds, what it says is wrong, and that it leaves everything as it was. */

import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { examine } from '../../../apps/sidecar/src/doctor/doctor.ts'
import { createEvents } from '../../../apps/sidecar/src/events.ts'
import type { Finding, Report } from '../../../apps/sidecar/src/findings.ts'
import { createJournal } from '../../../apps/sidecar/src/policy/journal.ts'
import { networks } from '../../../libs/chain/src/networks.ts'
import { reportText } from '../../../libs/common/src/findings.ts'
import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import type { Environment } from '../../../libs/common/src/settings.ts'
import { startBeacon } from '../../support/chain/beacon.ts'
import { openShares } from '../../support/keys/fixture-shares.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { loadSsvCluster, operatorFiles } from '../../support/keys/ssv.ts'
import { makeCa } from '../../support/services/certificates.ts'
import { startProcess } from '../../support/services/process.ts'
import { startWeb3Signer } from '../../support/services/web3signer.ts'
import { startSsvNode } from './keystores/ssv-support.ts'
import { type StandInRelayer, startStandInRelayer, VAULT } from './stand-in.ts'
import { first, keysOf } from './support.ts'

const CLUSTER = loadFixtureCluster('cluster-4')
const Fact = Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()])
/** What programs may rely on of `doctor --json`. */
const isReport = Compile(
  Type.Object({
    version: Type.Literal(1),
    healthy: Type.Boolean(),
    network: Type.Union([Type.String(), Type.Null()]),
    findings: Type.Array(
      Type.Object({
        check: Type.Enum(['settings', 'keys', 'signer', 'relayer', 'consensus', 'execution', 'journal', 'credentials']),
        status: Type.Enum(['good', 'warning', 'problem', 'unused']),
        message: Type.String(),
        details: Type.Array(Type.String()),
        facts: Type.Record(Type.String(), Type.Union([Fact, Type.Array(Type.Record(Type.String(), Fact))])),
      }),
    ),
  }),
)
const LOCK_HASH = '0xb84f4ba95344f3c4f218867c2567da012848c0380b2f046ae010ac655eafa01f'
let root = ''
let count = 0
let relayer: StandInRelayer
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sidecar-doctor-'))
  relayer = await startStandInRelayer({ generation: 'ours' })
})
afterAll(async () => {
  await relayer[Symbol.asyncDispose]()
  await rm(root, { recursive: true, force: true })
})

/** A copy of a node to be changed. */
async function copyNode(node = 0): Promise<string> {
  const dir = join(root, String(count++))
  await cp(first(CLUSTER.nodes.slice(node)).dir, dir, { recursive: true })
  return dir
}

const settings = (dir: string, more: Environment = {}): Environment => ({
  NETWORK: 'hoodi',
  RELAYER_ENDPOINT: relayer.url.replace('//', '//node-1:top-secret@'),
  RELAYER_TIMEOUT: '30',
  OBOL_KEYSTORES_DIR: dir,
  JOURNAL_FILE: join(dir, 'journal/deposits.journal'),
  ...more,
})

async function look(environment: Environment, isQuick = false) {
  const progress: string[] = []
  const options = { isQuick, onProgress: (line: string) => progress.push(line), signal: new AbortController().signal }
  const report = await examine(environment, options)
  expect(isReport.Check(report)).toBe(true)
  const text = reportText(report)
  for (const secret of ['top-secret', 'PRIVATE KEY']) expect(JSON.stringify(report) + text).not.toContain(secret)
  const of = (check: Finding['check']) => report.findings.find((found) => found.check === check)
  return { report, text, of }
}

/** Every file below a folder, with its content and the time of its last change. */
async function snapshot(dir: string): Promise<string[]> {
  const files = await readdir(dir, { recursive: true })
  return Promise.all(
    files.sort().map(async (name) => {
      const path = join(dir, name)
      const { mtimeMs } = await stat(path)
      const content = await readFile(path, 'base64').catch(() => 'folder')
      return `${name} ${mtimeMs} ${content}`
    }),
  )
}

describe('when nothing is wrong', () => {
  it('says what it found, as text and as JSON, ends with 0, and changes nothing', async () => {
    const dir = await copyNode()
    const before = await snapshot(dir)
    const environment = settings(dir)
    await using json = startProcess('sidecar', environment, ['doctor', '--json'])
    expect(await json.ended).toBe(0)
    const report = JSON.parse(json.output()) as Report
    expect(isReport.Check(report)).toBe(true)
    expect(report).toMatchObject({ version: 1, healthy: true, network: 'hoodi' })
    const facts = Object.fromEntries(report.findings.map((found) => [found.check, found.facts]))
    expect(facts['keys']).toEqual({
      keys: 12,
      holders: [{ node_index: 0, share_index: 1, keys: 12 }],
      clusters: [
        {
          file: join(dir, 'cluster-lock.json'),
          lock_hash: LOCK_HASH,
          validators: 12,
          threshold: 3,
          nodes: 4,
          pinned: false,
        },
      ],
      from: 'keystores',
    })
    expect(facts['relayer']).toMatchObject({ network: 'hoodi', lists: 'GET /exits, GET /validators' })
    expect(facts['journal']).toMatchObject({ exists: false, bindings: 0 })
    expect(facts['credentials']).toEqual({ relayer: true })

    await using text = startProcess('sidecar', environment, ['doctor'])
    expect(await text.ended).toBe(0)
    expect(text.output()).toContain(
      `good     keys         12 key shares of node 0 in keystores; cluster lock ${LOCK_HASH}, 3 of 4 nodes, 12 validators\n`,
    )
    expect(text.output()).toMatch(/\n\nnothing is wrong\n$/)
    expect(json.output() + text.output()).not.toContain('top-secret')
    expect(await snapshot(dir)).toEqual(before)
    expect(relayer.requests.filter((line) => line.startsWith('POST'))).toEqual([])
  })

  it('looks at keystores without decrypting them', async () => {
    const dir = await copyNode()
    for (const name of await readdir(join(dir, 'validator_keys')))
      if (name.endsWith('.txt'))
        await writeFile(join(dir, 'validator_keys', name), 'wrong', { flag: 'w+' }).catch(() => 0)
    const { of, report } = await look(settings(dir), true)
    expect(of('keys')).toMatchObject({
      status: 'good',
      message: '12 keystores, not decrypted (--quick): whether passwords and keys are right is not known',
    })
    expect(report.healthy).toBe(true)
    await rm(join(dir, 'validator_keys/keystore-insecure-3.txt'), { force: true })
    expect((await look(settings(dir), true)).of('keys')).toMatchObject({
      status: 'problem',
      details: [`${join(dir, 'validator_keys/keystore-insecure-3.txt')} cannot be read (ENOENT)`],
    })
  })

  it('finds the keys of remote signers, beside one that is away', async () => {
    const ca = makeCa('signers')
    await using signer = await startWeb3Signer({
      keys: [...(await openShares(first(CLUSTER.nodes).keystoresDir)).values()],
      ca,
    })
    const client = ca.issue('sidecar', { ended: true })
    const dir = join(root, 'tls')
    await mkdir(dir)
    for (const [name, pem] of Object.entries({ ca: ca.cert, ...client })) await writeFile(join(dir, name), pem)
    const remote = {
      ...settings(dir, { OBOL_KEYSTORES_DIR: '' }),
      REMOTE_SIGNER_URL: `${signer.url},https://127.0.0.1:1`,
      REMOTE_SIGNER_TIMEOUT: '30',
      REMOTE_SIGNER_CA_FILE: join(dir, 'ca'),
      REMOTE_SIGNER_CERT_FILE: join(dir, 'cert'),
      REMOTE_SIGNER_KEY_FILE: join(dir, 'key'),
      OBOL_CLUSTER_LOCK_FILE: CLUSTER.lockFile,
    }
    const wrong = await look(remote)
    expect(wrong.of('signer')).toMatchObject({
      status: 'problem',
      message: expect.stringMatching(/refuses our client certificate, which has expired/),
      details: [expect.stringMatching(/^the client certificate \(REMOTE_SIGNER_CERT_FILE\) expired on .*: renew it$/)],
    })
    const fresh = ca.issue('sidecar')
    for (const [name, pem] of Object.entries({ ...fresh })) await writeFile(join(dir, name), pem)
    const { of, report } = await look(remote)
    expect(report.healthy).toBe(true)
    expect(of('signer')).toMatchObject({
      status: 'warning',
      message: `127.0.0.1:${signer.port} holds 12 keys`,
      details: ['GET /upcheck at the remote signer 127.0.0.1:1 failed (ECONNREFUSED) (REMOTE_SIGNER_URL)'],
    })
    expect(of('keys')?.message).toContain('12 key shares of node 0 in remote signers; cluster lock 0xb84f')
    expect(of('credentials')?.message).toBe(
      'credentials for the relayer; a client certificate and no credentials for the remote signer',
    )
  })

  it('reads the chain of an SSV operator, and keeps nothing of it', async () => {
    await using node = await startSsvNode()
    const dir = join(root, 'ssv')
    await mkdir(dir)
    const { of } = await look({
      ...settings(dir, { OBOL_KEYSTORES_DIR: '' }),
      CLUSTER_TYPE: 'SSV',
      ...operatorFiles(263),
      EXECUTION_ENDPOINT: node.url,
      SSV_STATE_FILE: join(dir, 'state/ssv.json'),
    })
    expect(of('keys')?.facts).toMatchObject({ holders: [{ operator_id: 263, share_index: 263 }] })
    expect(of('execution')?.facts['endpoints']).toMatchObject([{ head_block: 1_300_000 }])
    expect(await readdir(dir)).toEqual([])
  })
})

describe('events of the SSV contract that an execution node leaves out', () => {
  const SSV_OWNER = loadSsvCluster('cluster-4').owner
  const last = 1_207_777
  const isLast = ({ blockNumber }: { blockNumber: number }) => blockNumber === last

  /** What is found beside a node whose newest final blocks have the last registration, which its logs lack. */
  async function lookBeside(receiptsLeaveOut: (log: { blockNumber: number }) => boolean) {
    await using node = await startSsvNode()
    node.head = last + 100
    node.finalized = last + 36
    node.leavesOut = isLast
    node.receipts = { leaveOut: receiptsLeaveOut }
    const dir = join(root, String(count++))
    await mkdir(dir)
    const { of, report } = await look({
      ...settings(dir, { OBOL_KEYSTORES_DIR: '' }),
      CLUSTER_TYPE: 'SSV',
      ...operatorFiles(280),
      EXECUTION_ENDPOINT: node.url,
      EXECUTION_RETRY_TIMEOUT: '1',
      SSV_STATE_FILE: join(dir, 'state/ssv.json'),
    })
    expect(await readdir(dir)).toEqual([])
    return { keys: of('keys'), report }
  }

  it('and nobody can show are a problem, with the block', async () => {
    const { keys, report } = await lookBeside(isLast)
    expect(report.healthy).toBe(false)
    expect(keys).toMatchObject({
      status: 'problem',
      message: expect.stringMatching(
        new RegExp(`^block ${last} may have an event of the SSV contract that the execution node at .* left out`),
      ),
    })
  })

  it('and a later registration shows are a warning, with what the owner may have done instead', async () => {
    await using node = await startSsvNode()
    node.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344
    const dir = join(root, String(count++))
    await mkdir(dir)
    const { of } = await look({
      ...settings(dir, { OBOL_KEYSTORES_DIR: '' }),
      CLUSTER_TYPE: 'SSV',
      ...operatorFiles(280),
      EXECUTION_ENDPOINT: node.url,
      SSV_OWNERS: SSV_OWNER,
      SSV_STATE_FILE: join(dir, 'state/ssv.json'),
    })
    expect(of('keys')?.status).toBe('warning')
    expect(of('keys')?.details.join()).toMatch(
      new RegExp(
        `registrations of ${SSV_OWNER} before log .* of the SSV contract may be missing: nonce \\d was signed`,
      ),
    )
  })

  it('and its receipts show are counted, with a warning that names the node', async () => {
    const { keys } = await lookBeside(() => false)
    expect(keys?.status).toBe('warning')
    expect(keys?.details.join()).toContain(`said otherwise of log 0 of block ${last} of the SSV contract`)
  })
})

describe('keys', () => {
  it.each([
    ['4', 'problem'],
    ['auto', 'warning'],
    ['3', 'good'],
  ])('whose vault nothing names, with real money at stake (GENERATION=%s)', async (GENERATION, status) => {
    const dir = join(root, String(count++))
    const { nodes } = await makeCluster({
      dir,
      nodes: 3,
      threshold: 2,
      validators: 2,
      network: networks.mainnet,
      withdrawalAddress: new Uint8Array(),
      feeRecipient: new Uint8Array(20).fill(1),
    })
    const environment = settings(first(nodes).keystoresDir, { NETWORK: 'mainnet', GENERATION })
    const found = (await look(environment)).of('keys')
    const words = 'nothing says which vault 2 validators may deposit to'
    expect(found?.details.some((detail) => detail.startsWith(words))).toBe(status !== 'good')
    // Keystores of tests are weak, which is told on networks like this one.
    expect(found?.status).toBe(status === 'good' ? 'warning' : status)
    const named = (await look({ ...environment, ALLOWED_VAULTS: VAULT })).of('keys')
    expect(named?.details.some((detail) => detail.startsWith(words))).toBe(false)
  })

  it.each([
    [
      'a wrong password',
      async (dir: string) => {
        const file = join(dir, 'validator_keys/keystore-insecure-1.txt')
        await rm(file, { force: true })
        await writeFile(file, 'not-the-password')
        return {}
      },
      (dir: string) =>
        `keystores that cannot be opened:\n  - ${dir}/validator_keys/keystore-insecure-1.json: the checksum does not fit (wrong password, or a damaged file)`,
    ],
    [
      'a lock of another network',
      async () => ({ NETWORK: 'mainnet' }),
      (dir: string) =>
        `the cluster lock is refused: ${dir}/cluster-lock.json: cluster_definition.fork_version is 0x10000910 (hoodi), but the network is mainnet (0x00000000)`,
    ],
    [
      'a file that cannot be read',
      async () => ({ OBOL_CLUSTER_LOCK_FILE: '/none/cluster-lock.json' }),
      () =>
        'the cluster lock /none/cluster-lock.json cannot be read (ENOENT); OBOL_CLUSTER_LOCK_FILE must name a file this user may read',
    ],
    [
      'another node',
      async () => ({ OBOL_NODE_INDEX: '2' }),
      (dir: string) =>
        `the node index is set to 2, but the keys in ${dir} are those of node 0: correct or unset OBOL_NODE_INDEX`,
    ],
  ])('%s', async (_, spoil, message) => {
    const dir = await copyNode()
    const { of, report, text } = await look(settings(dir, await spoil(dir)))
    expect(of('keys')).toMatchObject({ status: 'problem', message: message(dir) })
    expect(report.healthy).toBe(false)
    expect(text).toContain('PROBLEM  keys')
    expect(text).not.toContain('not-the-password')
  })

  it('half a set of keystores', async () => {
    const dir = await copyNode()
    for (const n of [0, 1, 2, 3, 4, 5])
      for (const ending of ['json', 'txt']) await rm(join(dir, `validator_keys/keystore-insecure-${n}.${ending}`))
    const { of, report } = await look(settings(dir))
    expect(report.healthy).toBe(false)
    expect(of('keys')).toMatchObject({
      status: 'problem',
      details: [`this node holds keys for only some validators of its cluster (dir "${dir}", keys 6, validators 12)`],
    })
  })

  it('a wrong password of an SSV operator', async () => {
    const dir = join(root, 'operator')
    await mkdir(dir)
    await writeFile(join(dir, 'password'), 'not-the-password')
    const files = operatorFiles(263)
    const { of } = await look({
      ...settings(dir, { OBOL_KEYSTORES_DIR: '', CLUSTER_TYPE: 'SSV', EXECUTION_ENDPOINT: 'http://127.0.0.1:1' }),
      ...files,
      SSV_OPERATOR_PASSWORD_FILE: join(dir, 'password'),
    })
    expect(of('keys')).toMatchObject({
      status: 'problem',
      message: `the operator key file ${files.SSV_OPERATOR_KEY_FILE} cannot be opened: the checksum does not fit (wrong password, or a damaged file); its password file is ${dir}/password`,
    })
    expect(of('execution')?.status).toBe('problem')
  })
})

describe('the relayer', () => {
  const answer = async (hook: StandInRelayer['hook'], more: Environment = {}) => {
    relayer.hook = hook
    try {
      return (await look(settings(await copyNode(), more), true)).of('relayer')
    } finally {
      relayer.hook = undefined
    }
  }
  const host = () => new URL(relayer.url).host

  it('of another network', async () => {
    const found = await answer(({ path }) =>
      path === '/info' ? { status: 200, body: { network: 'gnosis' } } : undefined,
    )
    expect(found).toMatchObject({
      status: 'problem',
      message: `the relayer at ${host()} is of another network than NETWORK=hoodi: correct RELAYER_ENDPOINT or NETWORK`,
    })
  })

  it('that does not let us in', async () => {
    const found = await answer(() => ({ status: 401, body: { code: 'TOKEN_UNKNOWN' } }))
    expect(found?.message).toBe(
      `GET /info at ${host()} answers with status 401 TOKEN_UNKNOWN: the token in RELAYER_ENDPOINT is missing, unknown to the relayer, or not one of a sidecar`,
    )
  })

  it('that hangs, or is something else', async () => {
    const hanging = await answer(() => new Promise(() => {}), { RELAYER_TIMEOUT: '1' })
    expect(hanging?.message).toMatch(/has not answered within 1000 ms: is the relayer running/)
    const other = await answer(() => ({ status: 200, body: Buffer.from('<html>') }))
    expect(other?.message).toBe(`${host()} does not answer GET /info as a relayer does: is RELAYER_ENDPOINT right?`)
  })

  it('without the list that is wanted', async () => {
    const unknown = ({ path }: { path: string }) => (path === '/validators' ? { status: 405, body: {} } : undefined)
    expect(await answer(unknown, { GENERATION: '4' })).toMatchObject({
      status: 'problem',
      message: `the relayer at ${host()} does not have GET /validators, which GENERATION=4 needs: unset GENERATION`,
    })
    expect(await answer(unknown)).toMatchObject({ status: 'good', facts: { lists: 'GET /exits' } })
  })

  it('whose clock is another', async () => {
    const found = await answer(({ path }) =>
      path === '/info'
        ? {
            status: 200,
            body: { network: 'hoodi' },
            headers: { date: new Date(Date.now() + 3_600_000).toUTCString() },
          }
        : undefined,
    )
    expect(found).toMatchObject({
      status: 'warning',
      details: [expect.stringMatching(/^the relayer's clock is 3\d\d\d s ahead of this machine's: set both by NTP$/)],
    })
  })
})

describe('nodes and settings', () => {
  it('a consensus node of another chain, and one that is away', async () => {
    await using beacon = await startBeacon({ network: networks.mainnet })
    const more = { CONSENSUS_ENDPOINT: `${beacon.url},http://127.0.0.1:2`, CONSENSUS_TIMEOUT: '30' }
    const { of } = await look(settings(await copyNode(), more), true)
    const host = new URL(beacon.url).host
    expect(of('consensus')).toMatchObject({ status: 'problem' })
    expect(of('consensus')?.message).toContain(
      `the consensus node at ${host} is not on hoodi: its genesis validators root or fork version differs (CONSENSUS_ENDPOINT); `,
    )
  })

  it('a consensus node that runs with another version of Capella than the network setting has', async () => {
    await using beacon = await startBeacon({ network: networks.hoodi })
    beacon.setSpec({ CAPELLA_FORK_VERSION: '0x04000000', CAPELLA_FORK_EPOCH: '7' })
    const { of } = await look(settings(await copyNode(), { CONSENSUS_ENDPOINT: beacon.url }), true)
    expect(of('consensus')).toMatchObject({
      status: 'problem',
      message: `the consensus node at ${new URL(beacon.url).host} is not on hoodi: CAPELLA_FORK_VERSION is 0x04000000 there and 0x40000910 in our network setting; CAPELLA_FORK_EPOCH is 7 there and 0 in our network setting (CONSENSUS_ENDPOINT)`,
    })
  })

  it('a consensus node that is syncing, without its execution node, or optimistic', async () => {
    await using beacon = await startBeacon({ network: networks.hoodi })
    const host = new URL(beacon.url).host
    for (const [step, words] of [
      [{ is_syncing: true, sync_distance: 1_234 }, 'is syncing, 1234 slots behind'],
      [{ el_offline: true }, 'has lost its execution node (el_offline)'],
      [{ is_optimistic: true }, 'has not verified its head (is_optimistic): its execution node is behind'],
    ] as const) {
      beacon.setStep(step)
      const { of } = await look(settings(await copyNode(), { CONSENSUS_ENDPOINT: beacon.url }), true)
      expect(of('consensus')).toMatchObject({
        status: 'problem',
        message: `the consensus node at ${host} ${words} (CONSENSUS_ENDPOINT)`,
      })
    }
  })

  it('a consensus node that cannot be asked, and whose head does not show that it is in step', async () => {
    await using beacon = await startBeacon({ network: networks.hoodi, quirks: { noSyncing: 403 } })
    const { of } = await look(settings(await copyNode(), { CONSENSUS_ENDPOINT: beacon.url }), true)
    expect(of('consensus')).toMatchObject({
      status: 'problem',
      message: expect.stringMatching(
        /cannot be asked whether it is syncing \(.*\), and its head is \d+ slots behind this machine's clock \(CONSENSUS_ENDPOINT\)$/,
      ),
    })
  })

  it('a consensus node whose head does not fit the clock', async () => {
    await using beacon = await startBeacon({ network: networks.hoodi })
    const { of } = await look(settings(await copyNode(), { CONSENSUS_ENDPOINT: beacon.url }), true)
    const host = new URL(beacon.url).host
    expect(of('consensus')).toMatchObject({
      status: 'warning',
      message: `${host} is on hoodi, at slot ${beacon.headSlot}`,
      details: [
        expect.stringMatching(/ slots behind this machine's clock: the clock is wrong, or the node stands still$/),
      ],
    })
  })

  it('settings that are wrong are all it says', async () => {
    const { report } = await look({ NETWORK: 'nowhere', RELAYER_ENDPOINT: 'x', OBOL_KEYSTORES_DIR: '/keys' })
    expect(report).toMatchObject({
      healthy: false,
      network: null,
      findings: [{ check: 'settings', status: 'problem' }],
    })
    expect(report.findings[0]?.message).toMatch(/2 problems in the settings:\n {2}- NETWORK is "nowhere"/)
  })

  it('a typo in a setting’s name', async () => {
    const { of } = await look(settings(await copyNode(), { POLL_INTERVALS: '3' }), true)
    expect(of('settings')).toMatchObject({
      status: 'warning',
      details: ['POLL_INTERVALS is not a setting: did you mean POLL_INTERVAL?'],
    })
  })
})

describe('the journal', () => {
  const journalOf = async (file: string, more: Environment = {}) =>
    (await look(settings(await copyNode(), { JOURNAL_FILE: file, ...more }), true)).of('journal')

  it('in use by a sidecar, which goes on', async () => {
    const file = join(root, 'used/deposits.journal')
    const whose = "in use by a running sidecar: if that is another node's, give this one a JOURNAL_FILE of its own"
    await using journal = createJournal(file, createEvents(silentLogger))
    await journal.openExisting()
    expect(await journalOf(file)).toMatchObject({
      status: 'good',
      details: [`its lock is ${whose}`],
      facts: { exists: false, in_use: true },
    })
    const bind = (position: number) =>
      journal.bind([{ publicKey: keysOf('cluster-4')[position] ?? '', vault: VAULT.toLowerCase() }])
    await bind(0)
    expect(await journalOf(file)).toMatchObject({
      status: 'good',
      message: `1 validator bound to their vaults in ${file}, ${whose}`,
      facts: { bindings: 1, in_use: true },
    })
    const link = join(root, 'linked.journal')
    await symlink(file, link)
    expect(await journalOf(link)).toMatchObject({ facts: { bindings: 1, in_use: true } })
    await bind(1)
    await journal[Symbol.asyncDispose]()
    expect(await journalOf(file)).toMatchObject({ facts: { bindings: 2, in_use: false } })
    await appendFile(file, '0x12')
    expect(await journalOf(file)).toMatchObject({
      status: 'warning',
      details: ['line 5 was cut off by a crash; the next start removes it'],
    })
    await appendFile(file, '\n')
    expect(await journalOf(file)).toMatchObject({
      status: 'problem',
      message: expect.stringContaining(`line 5 of the deposit journal ${file} is damaged: `),
    })
  })

  it('that could not be made, and one that is not needed', async () => {
    const inFile = join(root, 'plain')
    await writeFile(inFile, '')
    expect(await journalOf(join(inFile, 'deposits.journal'))).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('cannot be read (ENOTDIR); JOURNAL_FILE puts it elsewhere'),
    })
    expect(await journalOf(inFile, { GENERATION: '3' })).toMatchObject({ status: 'unused' })
  })
})
