/** `npm run relayer -- doctor`: what it finds of a whole world, what it says is wrong, and that it leaves everything as it was. */

import { randomBytes } from 'node:crypto'
import { chmod, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Status } from '@dvt-relayer/api/schemas.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { type Finding, type Report, reportText } from '@dvt-relayer/common/findings.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { depositSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import pg from 'pg'
import { toFunctionSelector } from 'viem/utils'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { examine } from '../../../apps/relayer/src/doctor/doctor.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { skipWithoutAnvil, startAnvil } from '../../support/chain/anvil.ts'
import { type Beacon, startBeacon } from '../../support/chain/beacon.ts'
import { makeOracles, oracleConfig } from '../../support/chain/oracles.ts'
import { startRpc } from '../../support/chain/rpc.ts'
import { leaveOutLogs, startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { depositBySomebodyElse } from '../../support/contracts/deposits.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { type MadeCluster, makeCluster } from '../../support/keys/make-cluster.ts'
import { makeManagerWallet } from '../../support/keys/manager-wallet.ts'
import { loadSsvCluster, ssvLogs } from '../../support/keys/ssv.ts'
import { createRelayerDatabase } from '../../support/services/postgres.ts'
import { startProcess } from '../../support/services/process.ts'
import { hasRedis, startRedis } from '../../support/services/redis.ts'
import { engine } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually } from '../../support/world/world.ts'

const STRANGER = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
const VALIDATORS = 12

describe.skipIf(skipWithoutAnvil)('doctor of a relayer', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let vault: Vault
  let cluster: MadeCluster
  let settings: Environment
  let sealingKey: string
  let password: string

  beforeAll(async () => {
    world = resources.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
    vault = await world.deployVault()
    cluster = await makeCluster({
      dir: join(world.dir, 'cluster'),
      nodes: 4,
      threshold: 3,
      validators: VALIDATORS,
      network: world.network,
      withdrawalAddress: fromHex(vault.address, 20),
      feeRecipient: new Uint8Array(20).fill(1),
    })
    const tokens = join(world.dir, 'tokens')
    const lines = [createToken('node-1', 'sidecar', '1'), createToken('operator-1', 'operator', vault.address)]
    await writeFile(tokens, lines.map(({ line }) => line).join('\n'), { mode: 0o600 })
    sealingKey = randomBytes(32).toString('hex')
    const keyFile = join(world.dir, 'sealing')
    await writeFile(keyFile, sealingKey, { mode: 0o600 })
    password = new URL(world.databaseUrl).password
    settings = world.environment({
      SEALING_KEY: '',
      SEALING_KEY_FILE: keyFile,
      AUTH_TOKENS_FILE: tokens,
      CLUSTER_LOCK_FILES: cluster.lockFile,
      CLUSTER_LOCK_HASHES: toHex(cluster.lock.lockHash),
      VAULTS: vault.address,
      // The machine may be busy.
      EXECUTION_TIMEOUT: '60',
      CONSENSUS_TIMEOUT: '60',
      IPFS_TIMEOUT: '60',
    })
    resources.use(await world.startRelayer(settings))
    await eventually('a heartbeat', async () => (await world.query('select id from processes')).at(0))
    await eventually('the deposits', async () =>
      (await world.query("select from checkpoints where name = 'registry'")).at(0),
    )
  })
  afterAll(() => resources.disposeAsync())
  // Its head is one of now.
  beforeEach(() => world?.anvil.mine(1))

  async function look(more: Environment = {}) {
    const report = await examine({ ...settings, ...more })
    const text = reportText(report)
    for (const secret of [sealingKey, password, 'top-secret'])
      expect(JSON.stringify(report) + text).not.toContain(secret)
    const of = (check: Finding['check']) => report.findings.find((found) => found.check === check)
    return { report, text, of }
  }
  const rowsOf = async (tables: readonly string[]) =>
    Promise.all(tables.map((table) => world.query(`select count(*), max(xmin::text::bigint) from ${table}`)))

  it('says that nothing is wrong, as text and for programs, and writes nothing', async () => {
    const tables = ['validators', 'clusters', 'sealing_checks', 'manager_signatures', 'drizzle.__drizzle_migrations']
    const before = [await rowsOf(tables), await readdir(world.dir)]
    await using json = startProcess('relayer', settings, ['doctor', '--json'])
    const code = await json.ended
    const report = JSON.parse(json.output()) as Report
    expect(report.findings.filter(({ status }) => status === 'problem')).toEqual([])
    expect(code).toBe(0)
    expect(report).toMatchObject({ version: 1, healthy: true, network: 'devnet' })
    const statuses = Object.fromEntries(report.findings.map(({ check, status }) => [check, status]))
    expect(statuses).toEqual({
      settings: 'good',
      files: 'good',
      clusters: 'good',
      tokens: 'good',
      database: 'good',
      sealing: 'good',
      queue: 'unused',
      execution: 'good',
      // The stand-in's head stands still.
      consensus: 'warning',
      ipfs: 'good',
      oracle_set: 'good',
      ssv: 'unused',
      registry: 'good',
      clock: 'good',
      workers: 'good',
      manager: 'good',
      keys: 'good',
      rotation: 'unused',
    })
    await world.anvil.mine(1)
    await using text = startProcess('relayer', settings, ['doctor'])
    expect(await text.ended).toBe(0)
    expect(text.output()).toContain(`good     workers      at work: all ${VERSION}\n`)
    expect(text.output()).toContain(`${vault.address} has ${VALIDATORS} keys left`)
    expect(text.output()).toMatch(/\n\nnothing is wrong, 1 warning\n$/)
    for (const secret of [sealingKey, password]) expect(json.output() + text.output()).not.toContain(secret)
    expect([await rowsOf(tables), await readdir(world.dir)]).toEqual(before)
  })

  it('finds a wallet that is not the manager of a vault, and an address that is no vault', async () => {
    await vault.setManager(STRANGER)
    const { of, report } = await look({ VAULTS: `${vault.address},${STRANGER}` })
    await vault.setManager(world.manager.address)
    expect(report.healthy).toBe(false)
    expect(of('manager')).toMatchObject({ status: 'problem', facts: { address: world.manager.address } })
    expect(of('manager')?.message).toContain(`validatorsManager() of the vault ${vault.address} is ${STRANGER}`)
    expect(of('manager')?.message).toContain(`${STRANGER}: there is no vault at this address`)
  })

  it('finds nodes of another chain, alone and beside a right one', async () => {
    await using beacon = await startBeacon({ network: networks.gnosis })
    await using anvil = await startAnvil({ chainId: 5 })
    const alone = await look({ CONSENSUS_ENDPOINT: beacon.url, EXECUTION_ENDPOINT: anvil.url })
    expect(alone.of('consensus')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('is not on devnet'),
    })
    expect(alone.of('execution')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('is on chain 5'),
    })
    expect(alone.report.healthy).toBe(false)
    const beside = await look({
      CONSENSUS_ENDPOINT: `${world.beacon.url},${beacon.url}`,
      EXECUTION_ENDPOINT: `${world.anvil.url},${anvil.url}`,
    })
    expect(beside.of('consensus')?.status).toBe('warning')
    expect(beside.of('execution')?.details).toEqual([expect.stringContaining('is on chain 5')])
    expect(beside.report.healthy).toBe(true)
  })

  it('finds consensus nodes that are not in step, or run with other settings than the network has', async () => {
    await using started = new AsyncDisposableStack()
    const all: { url: string; problem: string }[] = []
    const start = async (words: string, change: (beacon: Beacon) => void) => {
      const beacon = started.use(await startBeacon({ network: world.network }))
      change(beacon)
      const { host } = new URL(beacon.url)
      all.push({ url: beacon.url, problem: `the consensus node at ${host} ${words} (CONSENSUS_ENDPOINT)` })
    }
    for (const [words, step] of [
      ['is syncing, 1234 slots behind', { is_syncing: true, sync_distance: 1_234 }],
      ['has lost its execution node (el_offline)', { el_offline: true }],
      ['has not verified its head (is_optimistic): its execution node is behind', { is_optimistic: true }],
    ] as const)
      await start(words, (beacon) => beacon.setStep(step))
    const { depositContract } = world.network
    for (const [name, there, ours] of [
      ['CAPELLA_FORK_VERSION', '0x04000000', toHex(world.network.capellaForkVersion)],
      ['CAPELLA_FORK_EPOCH', '7', String(world.network.capellaEpoch)],
      ['SLOTS_PER_EPOCH', '8', String(world.network.slotsPerEpoch)],
      ['SECONDS_PER_SLOT', '6', String(world.network.secondsPerSlot)],
      ['DEPOSIT_CHAIN_ID', '1', String(world.network.chainId)],
      ['DEPOSIT_CONTRACT_ADDRESS', STRANGER, toHex(depositContract)],
    ] as const)
      await start(`is not on devnet: ${name} is ${there} there and ${ours} in our network setting`, (beacon) =>
        beacon.setSpec({ [name]: there }),
      )
    const problems = all.map(({ problem }) => problem)
    const endpoints = all.map(({ url }) => url).join()
    const alone = await look({ CONSENSUS_ENDPOINT: endpoints })
    expect(alone.of('consensus')).toMatchObject({ status: 'problem', message: problems.join('; ') })
    expect(alone.report.healthy).toBe(false)
    const beside = (await look({ CONSENSUS_ENDPOINT: `${endpoints},${world.beacon.url}` })).of('consensus')
    expect(beside?.status).toBe('warning')
    expect(beside?.details.slice(0, problems.length)).toEqual(problems)
  })

  it('tells a node that is catching up from a chain that makes no blocks, and so does /ready', async () => {
    await using proxy = await startRpcProxy(world.anvil)
    /** The newest block is of yesterday, and the node says this of it. */
    const lie = (syncing: unknown) =>
      proxy.answer(async ({ method, params, node }) => {
        if (method === 'eth_syncing') return syncing
        const block = (await node()) as { timestamp: string }
        if (method !== 'eth_getBlockByNumber' || params[0] !== 'latest') return block
        return { ...block, timestamp: `0x${(Number(block.timestamp) - 86_400).toString(16)}` }
      })
    lie(false)
    const own = { EXECUTION_ENDPOINT: proxy.url, AUTH_TOKENS_FILE: '' }
    await using relayer = await world.startRelayer({ ...settings, ...own })
    const still =
      /^the newest block of the execution node at \S+ is of \S+, and it does not say .* the chain makes no blocks/
    const found = (await look(own)).of('execution')
    expect(found).toMatchObject({ status: 'warning', details: [expect.stringMatching(still)] })
    const page = () => ask(relayer.url, '/status.json').then(({ json }) => json as Status)
    const doubts = await eventually('a doubt', async () => (await page()).doubts['execution'])
    expect(doubts).toMatch(still)
    expect((await page()).ready?.checks['execution']).toEqual({ ok: true })

    lie({ currentBlock: '0x1', highestBlock: '0x2' })
    const behind = /is still catching up \(eth_syncing\)/
    expect((await look(own)).of('execution')).toMatchObject({
      status: 'problem',
      message: expect.stringMatching(behind),
    })
    const away = await eventually('/ready to say so', async () => (await page()).ready?.checks['execution']?.message)
    expect(away).toMatch(behind)
    expect((await page()).doubts).not.toHaveProperty('execution')
  })

  it('finds that a node may have left out an oracle config, as /ready says it, and one that another node has', async () => {
    const fresh = { DATABASE_URL: '', DATA_DIR: join(world.dir, 'not-made-yet') }
    expect((await look(fresh)).of('oracle_set')).toMatchObject({
      status: 'good',
      message: expect.stringContaining('is the newest that the Keeper has announced'),
    })
    await using proxy = await startRpcProxy(world.anvil)
    const cid = world.ipfs.add(oracleConfig(makeOracles(5), 4))
    const lacking = await world.keeper.setConfig(cid)
    const left = leaveOutLogs(proxy, lacking)
    await world.anvil.mine(200)
    const lossy = await look({ ...fresh, EXECUTION_ENDPOINT: proxy.url })
    expect(lossy.of('oracle_set')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining(`block ${lacking} may have an oracle config that the execution node at`),
    })
    expect(lossy.report.healthy).toBe(false)
    const announced = { status: 'good', message: expect.stringContaining(`${cid} of block ${lacking} is the newest`) }
    const beside = { ...fresh, EXECUTION_ENDPOINT: `${proxy.url},${world.anvil.url}` }
    expect((await look(beside)).of('oracle_set')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('does not have what another says the Keeper announced'),
    })
    left.showReceipts()
    for (const nodes of [beside, { ...fresh, EXECUTION_ENDPOINT: proxy.url }])
      expect((await look(nodes)).of('oracle_set')).toMatchObject(announced)
    // Beside a running relayer, which has it in force by now.
    await eventually('the config in force', async () =>
      (await look()).of('oracle_set')?.message.startsWith(`the oracle config ${cid} of block ${lacking} is in force`)
        ? true
        : undefined,
    )
    expect((await look({ EXECUTION_ENDPOINT: 'http://127.0.0.1:1' })).of('oracle_set')).toMatchObject({
      status: 'warning',
      message: expect.stringContaining('whether there is a newer oracle config is not known'),
    })
    await world.announce(world.oracles, 2)
  })

  it('finds that a node may have left out events of the SSV contract, as /ready says it', async () => {
    const last = 1_207_777
    const isLast = ({ blockNumber }: { blockNumber: number }) => blockNumber === last
    const logs = [...ssvLogs('operator-added.json'), ...ssvLogs('validator-added.json')]
    await using node = await startRpc({ chainId: networks.hoodi.chainId, head: last + 100, logs })
    node.finalized = last + 36
    node.receipts = { leaveOut: () => false }
    const lookAt = async () => {
      const found = await look({
        ...{ NETWORK: 'hoodi', DATABASE_URL: '', DATA_DIR: join(world.dir, 'not-made-yet') },
        ...{
          EXECUTION_ENDPOINT: node.url,
          EXECUTION_RETRY_TIMEOUT: '1',
          SSV_OWNERS: loadSsvCluster('cluster-4').owner,
        },
      })
      return { ...found.of('ssv'), healthy: found.report.healthy }
    }
    const read = `events of the SSV contract are read up to block ${last + 36}: `
    expect(await lookAt()).toMatchObject({ status: 'good', message: expect.stringContaining(read), details: [] })
    node.leavesOut = isLast
    expect(await lookAt()).toMatchObject({
      status: 'warning',
      details: [
        expect.stringContaining(`said otherwise of log 0 of block ${last} of the SSV contract than the receipts`),
      ],
    })
    node.receipts = { leaveOut: isLast }
    expect(await lookAt()).toMatchObject({
      ...{ status: 'problem', healthy: false },
      message: expect.stringMatching(
        new RegExp(
          `^registrations of the SSV contract cannot be read: block ${last} may have an event of the SSV contract`,
        ),
      ),
    })
  })

  it('finds that a node leaves out a deposit that the contract counts, once somebody wants registrations', async () => {
    const found = async (more: Environment = {}) => (await look(more)).of('registry')
    await using fresh = await createRelayerDatabase()
    expect(await found({ DATABASE_URL: fresh.url })).toMatchObject({ status: 'unused' })
    const before = await found()
    const known = Number(before?.facts['validators'])
    expect(before).toMatchObject({ status: 'good', facts: { validators: expect.any(Number) } })
    const ofChain = (id: number) =>
      world.query("update checkpoints set value = jsonb_set(value, '{chain_id}', $1) where name = 'registry'", [id])
    await ofChain(1)
    expect(await found()).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('the registry of another network than devnet'),
    })
    await ofChain(world.network.chainId)
    const [key] = createTestKeys(1, { nodes: 1, threshold: 1 })
    if (key === undefined) throw new Error('no key')
    const message = {
      publicKey: key.publicKey,
      withdrawalCredentials: withdrawalCredentials('0x01', fromHex(vault.address, 20)),
      amountGwei: 32_000_000_000n,
    }
    const signature = engine.sign(key.secretKey, depositSigningRoot(world.network, message))
    // The first is the validator's; of the second the chain takes the ether alone.
    for (const of of [signature, new Uint8Array(96)])
      await depositBySomebodyElse(world.anvil, world.depositContract, { ...message, signature: of })
    const [first, second] = await world.depositContract.events()
    expect(await found()).toMatchObject({
      status: 'good',
      message: `deposits are read up to block ${second?.blockNumber}: ${known + 1} validators`,
      facts: { block: second?.blockNumber, validators: known + 1 },
    })
    await using proxy = await startRpcProxy(world.anvil)
    leaveOutLogs(proxy, first?.blockNumber ?? 0)
    const lossy = await look({ EXECUTION_ENDPOINT: proxy.url })
    expect(lossy.of('registry')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('leaves deposit logs out'),
    })
    expect(lossy.report.healthy).toBe(false)
    // What one leaves out another one has.
    expect(await found({ EXECUTION_ENDPOINT: `${proxy.url},${world.anvil.url}` })).toMatchObject({ status: 'good' })
    expect(await found({ EXECUTION_ENDPOINT: 'http://127.0.0.1:1' })).toMatchObject({ status: 'problem' })
  })

  it('finds that nobody finishes what is collected, that nobody runs at all, and another version', async () => {
    const others = `insert into processes (id, role, version) values ('an api', 'api', '0.0.1')`
    await world.query("update processes set role = 'api'")
    expect((await look()).of('workers')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('no process of the role worker or all has ever been there'),
    })
    await world.query("update processes set role = 'all'")
    await world.query(others)
    expect((await look()).of('workers')).toMatchObject({
      status: 'warning',
      details: [`processes of 0.0.1 run beside this ${VERSION}: update them together`],
    })
    await world.query("delete from processes where id = 'an api'")
    await using database = await openChanged(
      "insert into processes (id, role, version, stopped_at) values ('a', 'all', '0.2.0', now())",
    )
    expect((await look({ DATABASE_URL: database.url })).of('workers')).toMatchObject({
      status: 'warning',
      message: expect.stringMatching(/^no relayer runs on this database since 2/),
    })
  })

  it('finds tokens that are bound to nothing, and none at all', async () => {
    const file = join(world.dir, 'unbound-tokens')
    await writeFile(file, createToken('node-7', 'sidecar', '*').line, { mode: 0o600 })
    expect((await look({ AUTH_TOKENS_FILE: file })).of('tokens')).toMatchObject({
      status: 'warning',
      details: [
        'the token node-7 is bound to nothing and may hand in signatures for every node: make it anew: npm run relayer -- token --name node-7 --role sidecar --for (share indexes)',
      ],
    })
    expect((await look({ AUTH_TOKENS_FILE: '' })).of('tokens')).toMatchObject({ status: 'warning' })
    await writeFile(file, 'nonsense')
    expect((await look({ AUTH_TOKENS_FILE: file })).of('tokens')).toMatchObject({ status: 'problem' })
  })

  it('finds key files that everybody may read or change', async () => {
    const { keyFile } = await makeManagerWallet(world.dir)
    await chmod(keyFile, 0o644)
    const files = (await look()).of('files')
    expect(files).toMatchObject({
      status: 'problem',
      message: `everybody on this machine may read VALIDATORS_MANAGER_KEY_FILE, which is of mode 0644: chmod 600 ${keyFile}`,
    })
    await chmod(keyFile, 0o600)
    const tokens = String(settings['AUTH_TOKENS_FILE'])
    await chmod(tokens, 0o644)
    expect((await look()).of('files')).toMatchObject({ status: 'good' })
    await chmod(tokens, 0o666)
    expect((await look()).of('files')?.message).toContain('everybody may change AUTH_TOKENS_FILE')
    await chmod(tokens, 0o600)
  })

  it('finds locks that are damaged, and pins of no lock', async () => {
    const file = join(world.dir, 'damaged.json')
    await writeFile(file, '{}')
    expect((await look({ CLUSTER_LOCK_FILES: file })).of('clusters')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining(file),
    })
    const pin = `0x${'ab'.repeat(32)}`
    const pins = `${toHex(cluster.lock.lockHash)},${pin}`
    expect((await look({ CLUSTER_LOCK_HASHES: pins })).of('clusters')).toMatchObject({
      status: 'warning',
      details: [`CLUSTER_LOCK_HASHES pins the cluster lock ${pin}, which no file is: take it out, or add the file`],
    })
    expect((await look({ CLUSTER_LOCK_HASHES: pin })).of('clusters')?.message).toContain(
      'is not one of CLUSTER_LOCK_HASHES',
    )
  })

  it('finds a vault without keys', async () => {
    const other = await world.deployVault()
    const { of } = await look({ VAULTS: `${vault.address},${other.address}` })
    expect(of('keys')).toMatchObject({ status: 'problem' })
    expect(of('keys')?.message).toContain(`${other.address} has no key left`)
    await world.query('update validators set registered_at = now(), beacon_index = 7 where place < 5')
    expect((await look()).of('keys')).toMatchObject({
      status: 'warning',
      details: [`${vault.address} has 7 keys left`],
    })
    await world.query('update validators set registered_at = null, beacon_index = null')
  })

  it('says what the rotation wallet can pay', async () => {
    const wallet = await makeManagerWallet(join(world.dir, 'cluster'))
    const rotation = {
      ROTATION: 'on',
      ROTATION_WALLET_KEY_FILE: wallet.keyFile,
      ROTATION_WALLET_PASSWORD_FILE: wallet.passwordFile,
    }
    expect((await look(rotation)).of('rotation')).toMatchObject({
      status: 'problem',
      message: `the rotation wallet ${wallet.address} is empty: send it some ether for gas`,
    })
    await world.anvil.rpc('anvil_setBalance', wallet.address, `0x${(10n ** 18n).toString(16)}`)
    expect((await look(rotation)).of('rotation')).toMatchObject({ status: 'good', facts: { balance_gwei: 1e9 } })
  })

  it('finds that a node has left out an update of exit signatures, which the Keeper counts', async () => {
    await using proxy = await startRpcProxy(world.anvil)
    const rotation = { ROTATION: 'on', EXECUTION_ENDPOINT: proxy.url }
    const set = `registered_at = now(), beacon_index = 7, beacon_vault = '\\x${vault.address.slice(2)}'`
    await world.query(`update validators set ${set} where place = 0`)
    await world.keeper.setOracles([STRANGER], 1)
    await world.anvil.mine(4)
    expect((await look(rotation)).of('rotation')).toMatchObject({ status: 'good' })
    const nonces = toFunctionSelector('exitSignaturesNonces(address)')
    proxy.answer(({ method, params, node }) =>
      method === 'eth_call' && (params[0] as { data: string }).data.startsWith(nonces)
        ? `0x${'1'.padStart(64, '0')}`
        : node(),
    )
    expect((await look(rotation)).of('rotation')).toMatchObject({
      status: 'problem',
      message: expect.stringMatching(
        new RegExp(`^${vault.address}: the execution node at .* does not have all of the last 1 updates of a vault's`),
      ),
      details: [expect.stringContaining('ROTATION=on')],
    })
    await world.query('update validators set registered_at = null, beacon_index = null, beacon_vault = null')
  })

  it('finds a gateway that has not what it should, and a key that does not fit', async () => {
    const { of } = await look({
      IPFS_FETCH_ENDPOINTS: `${world.ipfs.url},${world.beacon.url}`,
      SEALING_KEY_FILE: '',
      SEALING_KEY: randomBytes(32).toString('hex'),
    })
    expect(of('ipfs')?.status).toBe('warning')
    expect(of('sealing')).toMatchObject({ status: 'problem', message: expect.stringContaining('does not fit') })
  })

  it('finds a database that is away, that is new, of the future, or not ours to write', async () => {
    const url = new URL(world.databaseUrl)
    url.port = '1'
    url.password = 'top-secret'
    const away = await look({ DATABASE_URL: url.href })
    expect(away.of('database')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('cannot be reached'),
    })
    expect(away.of('workers')).toMatchObject({ status: 'unused' })

    // Root may write everywhere but into a file.
    const nowhere = await look({ DATABASE_URL: '', DATA_DIR: join(settings['SEALING_KEY_FILE'] ?? '', 'data') })
    expect(nowhere.of('database')).toMatchObject({
      status: 'problem',
      message: expect.stringMatching(
        /^no PostgreSQL can be made in .*: this user cannot write to .* \(ENOTDIR\) \(DATA_DIR\)$/,
      ),
    })
    const fresh = await look({ DATABASE_URL: '', DATA_DIR: join(world.dir, 'not-made-yet') })
    expect(fresh.of('database')).toMatchObject({ status: 'unused' })

    await using future = await openChanged(
      "insert into drizzle.__drizzle_migrations (hash, created_at) values ('of the future', 9)",
    )
    expect((await look({ DATABASE_URL: future.url })).of('database')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('1 migration that this version does not know'),
    })
    const user = `reader_${randomBytes(4).toString('hex')}`
    {
      await using foreign = await openChanged(
        `create role ${user} login password 'top-secret'; grant usage on schema drizzle to ${user};
         grant select on all tables in schema public to ${user}; grant select on all tables in schema drizzle to ${user}`,
      )
      const asReader = new URL(foreign.url)
      asReader.username = user
      asReader.password = 'top-secret'
      expect((await look({ DATABASE_URL: asReader.href })).of('database')).toMatchObject({
        status: 'problem',
        message: expect.stringMatching(/the user may not read and write \d+ tables: grant it/),
      })
    }
    await world.query(`drop role ${user}`)
  })

  it.skipIf(!hasRedis())("finds Redis's eviction policy, that it wants a password, and that it is away", async () => {
    await using redis = await startRedis()
    expect((await look({ REDIS_URL: redis.url })).of('queue')).toMatchObject({ status: 'good' })
    await configure(redis.url, 'maxmemory-policy', 'allkeys-lru')
    expect((await look({ REDIS_URL: redis.url })).of('queue')).toMatchObject({
      status: 'warning',
      message: expect.stringContaining('maxmemory-policy allkeys-lru'),
    })
    await configure(redis.url, 'requirepass', 'top-secret')
    expect((await look({ REDIS_URL: redis.url })).of('queue')?.message).toContain('NOAUTH')
    await redis.kill()
    const away = redis.url.replace('//', '//:top-secret@')
    expect((await look({ REDIS_URL: away })).of('queue')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })

  /** A database with all tables that this SQL has changed. */
  async function openChanged(statement: string) {
    const database = await createRelayerDatabase()
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    await client.query(statement)
    await client.end()
    return database
  }
})

async function configure(url: string, name: string, value: string): Promise<void> {
  const { Redis } = await import('ioredis')
  const client = new Redis(url)
  await client.config('SET', name, value)
  client.disconnect()
}
