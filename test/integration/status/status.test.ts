/** `GET /status`, `GET /status.json` and the command: what is said, to whom, over a real database; and what it reads with very many validators. */

import { randomBytes } from 'node:crypto'
import { routes } from '@dvt-relayer/api/routes.ts'
import { Status } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { DatabaseClient } from '@dvt-relayer/db/client.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { createOrm } from '@dvt-relayer/db/orm.ts'
import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { createStatus } from '../../../apps/relayer/src/services/status/status.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'
import { openPage, skipWithoutChromium, startBrowser } from '../../support/browser/browser.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { startProcess } from '../../support/services/process.ts'
import { ETH32 } from '../../support/stages/registrations.ts'
import { openStatusStage, type StatusStage } from '../../support/stages/status.ts'
import { createExplainingClient } from '../../support/stores/plans.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually } from '../../support/world/world.ts'

const check = Compile(Status)
const JSON_PATH = routes.getStatus.path
const PAGE_PATH = routes.getStatusPage.path

describe.skipIf(skipWithoutAnvil)('the status', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let stage: StatusStage
  beforeAll(async () => {
    world = resources.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
    stage = resources.use(await openStatusStage(world, { validators: 40 }))
    await eventually('the first count', async () => ((await statusOf('admin')).clusters.length > 0 ? true : undefined))
  })
  afterAll(() => resources.disposeAsync())

  type Name = keyof StatusStage['tokens']
  const as = (name: Name) => ({ authorization: `Bearer ${stage.tokens[name]}` })
  async function statusOf(name: Name, query = ''): Promise<Status> {
    const { status, json, text } = await ask(stage.url, `${JSON_PATH}${query}`, { headers: as(name) })
    expect({ status, text: status === 200 ? '' : text }).toEqual({ status: 200, text: '' })
    expect([...check.Errors(json)]).toEqual([])
    for (const secret of stage.secrets) expect(text).not.toContain(secret)
    return json as Status
  }
  const until = (what: string, isIt: (status: Status) => boolean, name: Name = 'admin') =>
    eventually(what, async () => {
      const status = await statusOf(name)
      return isIt(status) ? status : undefined
    })
  const saying = (status: Status, words: string) => status.problems.find(({ sentence }) => sentence.includes(words))
  /** An exit that is collected of the validator at this place of the lock, signed by these. */
  async function collect(place: number, ...signed: number[]): Promise<number> {
    const [row] = await stage.query<{ id: number }>(
      `insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, created_at)
       select id, 'exit', 7, 0, $2, 3, 'collecting', now() - interval '1 hour' from validators where place = $1 returning id::int`,
      [place, randomBytes(32)],
    )
    for (const shareIndex of signed)
      await stage.query(
        `insert into partial_signatures (message_id, share_index, digest, sealed, state) values ($1, $2, $3, $3, 'verified')`,
        [row?.id, shareIndex, randomBytes(32)],
      )
    return row?.id ?? 0
  }

  it('counts what each node owes, and lists what is not ready by pages and by its first digits', async () => {
    for (let place = 0; place < 30; place++) await collect(place, 1, ...(place < 10 ? [2] : []))
    await stage.announce()
    const status = await until('the count', ({ totals }) => totals?.collecting === 30)
    expect(status.clusters).toMatchObject([{ name: 'Blue cluster', threshold: 3, validators: 40, collecting: 30 }])
    expect(status.clusters[0]?.nodes.map(({ waiting }) => waiting)).toEqual([0, 20, 30, 30])
    expect(status.clusters[0]?.nodes.map(({ state, reason }) => [state, reason])).toEqual([
      ['unknown', null],
      ['unknown', 'NODE_UNKNOWN'],
      ['never', 'NODE_NEVER_SEEN'],
      ['never', 'NODE_NEVER_SEEN'],
    ])
    const first = status.validators
    expect(first.items).toHaveLength(25)
    const second = (await statusOf('admin', `?after=${first.next}`)).validators
    expect([second.items.length, second.next]).toEqual([5, null])
    const keys = [...first.items, ...second.items].map(({ public_key: key }) => key)
    expect(keys.toSorted()).toEqual(stage.keys.slice(0, 30).toSorted())
    expect(first.items[0]?.verdict.code).toBe('NODE_NEVER_SEEN')

    const [, , wanted = ''] = stage.keys
    for (const digits of [wanted, wanted.slice(2), wanted.slice(0, 15), ` ${wanted.toUpperCase().replace('X', 'x')} `])
      expect(
        (await statusOf('admin', `?key=${encodeURIComponent(digits)}`)).validators.items.map(
          ({ public_key: key }) => key,
        ),
      ).toEqual([wanted])
    // Who has a deposit beside an exit is one validator.
    await stage.query(
      `insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state)
       select id, 'deposit', $1, $2, '0x01', $3, 3, 'collecting' from validators where place < 3`,
      [Buffer.from(stage.vault.address.slice(2), 'hex'), ETH32, randomBytes(32)],
    )
    await stage.announce()
    const both = await until('the deposits', ({ clusters }) => clusters[0]?.nodes[0]?.waiting === 3)
    expect(both.totals?.collecting).toBe(30)
    const again = [
      ...both.validators.items,
      ...(await statusOf('admin', `?after=${both.validators.next}`)).validators.items,
    ]
    expect(again.map(({ public_key: key }) => key).toSorted()).toEqual(keys.toSorted())
  })

  it('is scoped to what a token covers', async () => {
    const vault = checksumAddress(Buffer.from(stage.vault.address.slice(2), 'hex'))
    const owner = await statusOf('owner')
    expect(owner).toMatchObject({ totals: null, queue: null, vaults: [{ vault }], clusters: [{ validators: 40 }] })
    expect(owner.validators.items).toHaveLength(25)

    const stranger = await statusOf('stranger')
    expect(stranger).toMatchObject({ clusters: [], vaults: [], validators: { items: [], next: null } })
    expect((await statusOf('stranger', `?key=${stage.keys[0]}`)).validators.items).toEqual([])
    expect(JSON.stringify(stranger).toLowerCase()).not.toContain(stage.vault.address.toLowerCase())

    const node = await statusOf('node-3')
    expect(node).toMatchObject({ totals: null, vaults: [], manager: null, clusters: [{ nodes: [{ share_index: 3 }] }] })
    expect(node.clusters[0]?.nodes).toHaveLength(1)
    for (const { shares } of node.validators.items) expect(shares.map(({ share_index: index }) => index)).toEqual([3])
    expect(JSON.stringify(node.problems)).not.toMatch(/node [124]/)

    for (const path of [JSON_PATH, PAGE_PATH]) {
      expect((await ask(stage.url, path, { headers: as('oracle') })).status).toBe(403)
      const nobody = await ask(stage.url, path)
      expect([nobody.status, nobody.headers.get('www-authenticate')]).toEqual([401, expect.stringContaining('Basic')])
    }
  })

  it('of a cluster that others share tells an operator no numbers', async () => {
    const other = randomBytes(20)
    await stage.query(`update validators set withdrawal_address = $1 where place = 39`, [other])
    await stage.announce()
    await until('the shared cluster', ({ clusters }) => clusters[0]?.validators === null, 'owner')
    const { clusters } = await statusOf('owner')
    expect(clusters).toMatchObject([{ validators: null, collecting: null }])
    expect(clusters[0]?.nodes.map(({ waiting, oldest_at_timestamp: at }) => [waiting, at])).toEqual(
      Array(4).fill([null, null]),
    )
    await stage.query(
      `update validators v set withdrawal_address = (select withdrawal_address from validators where place = 0) where place = 39`,
    )
    await stage.announce()
    await until('the whole cluster', (status) => status.clusters[0]?.validators === 40, 'owner')
  })

  it('says what the manager has moved and what is left, of records by their content', async () => {
    const vault = Buffer.from(stage.vault.address.slice(2), 'hex')
    const record = (action: string, digest: Buffer, gwei: number, requester: string) =>
      stage.query(
        `insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest)
         values ($1, $2, $3, $4, $5, 1, $6, $7)`,
        [action, vault, requester, randomBytes(32), randomBytes(48), gwei, digest],
      )
    const digest = randomBytes(32)
    await record('fund', digest, 30_000_000_000, 'a')
    await record('fund', digest, 30_000_000_000, 'b')
    await record('register', randomBytes(32), 99_000_000_000, 'a')
    const status = await until('the record', ({ manager }) => manager?.vaults.length === 1)
    expect(status.manager).toMatchObject({
      address: world.manager.address,
      limit_gwei: '32000000000',
      vaults: [{ signatures: { fund: 1, register: 1 }, moved_gwei: '30000000000', left_gwei: '2000000000' }],
    })
    expect(saying(status, 'four fifths')).toMatchObject({ level: 'waiting', anchor: 'the-daily-limit-is-reached' })
    await record('withdraw', randomBytes(32), 2_000_000_000, 'a')
    const full = await until('the limit', (now) => saying(now, 'is used up') !== undefined, 'owner')
    expect(full.manager?.vaults[0]?.left_gwei).toBe('0')
  })

  it('says that nobody finishes, that a service is away, and that keys run out', async () => {
    await stage.query(
      `update validators set registered_at = now(), beacon_index = place, beacon_vault = withdrawal_address where place > 0`,
    )
    await stage.announce()
    const few = await until(
      'few keys',
      (status) => saying(status, 'key left') !== undefined || saying(status, 'keys left') !== undefined,
    )
    expect(few.vaults).toMatchObject([{ registered: 39, keys_free: 1 }])
    await stage.query(`update validators set registered_at = null, beacon_index = null, beacon_vault = null`)
    await stage.announce()
    const { ready, processes, network, queue } = few
    expect(ready?.checks).toMatchObject({ database: { ok: true } })
    expect(processes).toMatchObject([{ role: 'all', there: true }])
    expect([network, queue]).toEqual([world.network.name, expect.objectContaining({ waiting: expect.any(Number) })])
  })

  describe('as a page', () => {
    it('is not sent again while nothing has changed, carries its policy, and says no secret', async () => {
      const headers = as('admin')
      const page = await ask(stage.url, PAGE_PATH, { headers })
      expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
      expect(page.headers.get('content-security-policy')).toMatch(
        /^default-src 'none'; style-src 'self'; script-src 'self'/,
      )
      expect(page.headers.get('content-security-policy')).not.toContain('unsafe')
      expect(page.headers.get('cache-control')).toBe('private, no-cache')
      for (const secret of stage.secrets) expect(page.text).not.toContain(secret)
      expect(page.text).not.toMatch(/0x[0-9a-f]{192}|<style|style=|onclick|https?:/)
      const same = await eventually('an unchanged page', async () => {
        const now = await ask(stage.url, PAGE_PATH, { headers })
        const again = await ask(stage.url, PAGE_PATH, {
          headers: { ...headers, 'if-none-match': now.headers.get('etag') ?? '' },
        })
        return again.status === 304 ? again : undefined
      })
      expect(same.text).toBe('')
    })

    it('leads from / to itself, and has its style, its script and its runbook for everybody', async () => {
      const root = await ask(stage.url, '/')
      expect([root.status, root.headers.get('location')]).toEqual([302, 'status'])
      expect((await ask(stage.url, '/', { method: 'POST', body: {} })).status).toBe(405)
      expect((await ask(stage.url, '//')).status).toBe(404)
      for (const [path, type] of [
        [routes.getStatusStyle.path, 'text/css; charset=utf-8'],
        [routes.getStatusScript.path, 'text/javascript; charset=utf-8'],
        [routes.getStatusHelp.path, 'text/html; charset=utf-8'],
      ] as const) {
        const { status, headers } = await ask(stage.url, path)
        expect([status, headers.get('content-type'), headers.get('x-content-type-options')]).toEqual([
          200,
          type,
          'nosniff',
        ])
        expect((await ask(stage.url, path, { headers: { 'if-none-match': headers.get('etag') ?? '' } })).status).toBe(
          304,
        )
      }
    })

    it.each([['?key=%3Cscript%3E'], ['?key=0xzz'], [`?key=${'1'.repeat(97)}`], ['?after=-1'], ['?after=x']])(
      'refuses %s',
      async (query) => {
        expect(await ask(stage.url, `${PAGE_PATH}${query}`, { headers: as('admin') })).toMatchObject({
          status: 422,
          json: { code: 'QUERY_INVALID' },
        })
      },
    )
  })

  it('takes no password that a browser keeps for a page of another site to change something', async () => {
    const basic = `Basic ${Buffer.from(`me:${stage.tokens.owner}`).toString('base64')}`
    const post = (headers: Record<string, string>) =>
      ask(stage.url, routes.postValidators.path, { body: { public_keys: [] }, headers })
    for (const site of ['cross-site', 'same-site'])
      expect(await post({ authorization: basic, 'sec-fetch-site': site })).toMatchObject({
        status: 401,
        json: { code: 'TOKEN_MISSING' },
      })
    for (const headers of [
      { authorization: basic },
      { authorization: basic, 'sec-fetch-site': 'same-origin' },
      { ...as('owner'), 'sec-fetch-site': 'cross-site' },
    ])
      expect((await post(headers)).status).not.toBe(401)
  })

  it('is shown without tokens where everything else is, and behind a wallet to this machine alone', async () => {
    const open = { ...stage.environment, AUTH_TOKENS_FILE: '' }
    {
      await using relayer = await world.startRelayer({ ...open, WALLETS_WITHOUT_TOKENS: 'loopback' })
      expect((await ask(relayer.url, PAGE_PATH)).status).toBe(200)
      for (const path of [PAGE_PATH, JSON_PATH])
        expect(await ask(relayer.url, path, { headers: { 'x-forwarded-for': '203.0.113.1' } })).toMatchObject({
          status: 403,
          json: { code: 'MANAGER_LOCAL_ONLY' },
        })
    }
    const without = {
      VALIDATORS_MANAGER_KEY_FILE: '',
      VALIDATORS_MANAGER_PASSWORD_FILE: '',
      WALLETS_WITHOUT_TOKENS: '',
      MANAGER_DAILY_LIMIT_GWEI: '',
    }
    await using relayer = await world.startRelayer({ ...open, ...without })
    expect((await ask(relayer.url, PAGE_PATH, { headers: { 'x-forwarded-for': '203.0.113.1' } })).status).toBe(200)
  })

  it('is the same by the command, as JSON and in words, and tells by its exit code whether somebody has to act', async () => {
    const run = async (...args: string[]) => {
      const process = startProcess('relayer', world.environment({ ...stage.environment, LOG_LEVEL: 'error' }), [
        'status',
        ...args,
      ])
      return { code: await process.ended, text: process.output() }
    }
    const timeless = ({ validators: { items, ...rest } }: Status) => ({
      ...rest,
      items: items.map((item) => ({ ...item, time: 0 })),
    })
    // Between the two looks the chain may have told of more.
    const { text, printed } = await vi.waitFor(
      async () => {
        const { code, text } = await run('--json')
        expect(code).toBe(1)
        const status = JSON.parse(text) as Status
        expect([...check.Errors(status)]).toEqual([])
        const answered = await statusOf('admin')
        expect(status.clusters).toEqual(answered.clusters)
        expect(timeless(status)).toEqual(timeless(answered))
        return { text, printed: status }
      },
      { timeout: PATIENCE_MS },
    )
    const words = await run()
    expect(words.code).toBe(1)
    for (const part of [
      '✕ ',
      'cluster "Blue cluster", threshold 3',
      'node 3: NODE_NEVER_SEEN',
      'docs/operating/runbook.md#a-node-is-missing',
      'process all',
      'rotation not configured: ROTATION is off',
    ])
      expect(words.text).toContain(part)
    expect(words.text.includes('npm run relayer -- explain 0x…')).toBe(printed.validators.items.length > 0)
    for (const secret of stage.secrets) expect(text + words.text).not.toContain(secret)
  })
})

describe.skipIf(skipWithoutAnvil)('the status of 100,000 validators', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let stage: StatusStage
  let status: Status
  beforeAll(async () => {
    world = resources.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
    stage = resources.use(await openStatusStage(world))
    const key = (text: string) => `decode(lpad(to_hex(${text}), 96, '0'), 'hex')`
    await stage.query(
      `insert into validators (public_key, cluster_id, place, withdrawal_address, beacon_index, beacon_vault, registered_at)
       select ${key('i')}, (select id from clusters where name = 'Blue cluster'), i, $1,
              case when i % 5 > 1 then i end, case when i % 5 > 1 then $1::bytea end, case when i % 5 > 1 then now() end
       from generate_series(4, 100000) i`,
      [Buffer.from(stage.vault.address.slice(2), 'hex')],
    )
    await stage.query(`insert into key_shares (validator_id, share_index, public_key_share, source)
                       select id, x, public_key, 'lock' from validators, generate_series(1, 4) x where place > 3 on conflict do nothing`)
    await stage.query(
      `insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, signature, ready_at)
       select id, 'exit', id, 0, $1, 3, case when place % 5 = 0 then 'collecting' else 'ready' end,
              case when place % 5 > 0 then $2::bytea end, case when place % 5 > 0 then now() end from validators where place > 3`,
      [randomBytes(32), randomBytes(96)],
    )
    await stage.query(`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                       select id, 1, decode(lpad(to_hex(id), 64, '0'), 'hex'), 'x', 'verified' from messages where state = 'collecting'`)
    await stage.query(`analyze`)
    await stage.announce()
    const headers = { authorization: `Bearer ${stage.tokens.admin}` }
    // A busy machine takes minutes to count so many for the first time.
    status = await eventually(
      'the count',
      async () => {
        const { json } = await ask(stage.url, JSON_PATH, { headers })
        const found = json as Status
        const isCounted = (found.totals?.validators ?? 0) >= 100_000 && (found.totals?.collecting ?? 0) >= 19_999
        // Before the signatures were written a worker may have counted what there was.
        return isCounted && found.clusters[0]?.nodes[0]?.waiting !== 20_000 ? found : undefined
      },
      4 * PATIENCE_MS,
    )
  }, 900_000)
  afterAll(() => resources.disposeAsync())

  it('is answered without counting them', { timeout: 600_000 }, async () => {
    expect(status.clusters[0]?.nodes.map(({ waiting }) => waiting)).toEqual(
      [0, 19_999, 19_999, 19_999].map((number) => expect.closeTo(number, -1)),
    )
    const { config } = readConfig(world.environment(stage.environment))
    const client = new DatabaseClient({ connectionString: stage.environment['DATABASE_URL'] })
    await client.connect()
    const admin = { name: 'admin', role: 'admin', vaults: undefined, shareIndexes: undefined } as const
    const ofOwner = { ...admin, name: 'owner', role: 'operator', vaults: [fromHex(stage.vault.address)] } as const
    const stranger = { ...ofOwner, name: 'stranger', vaults: [new Uint8Array(20).fill(0xee)] }
    const node = { ...admin, name: 'node-2', role: 'sidecar', shareIndexes: [2] } as const
    const after = String(status.validators.next ?? 0)
    try {
      for (const [name, caller, query] of [
        ['page', admin, {}],
        ['next page', admin, { after }],
        ['search', admin, { key: '0x0000' }],
        ['page of an operator', ofOwner, {}],
        ['page of an operator of other vaults', stranger, {}],
        ['next page of a node', node, { after }],
      ] as const) {
        const explaining = createExplainingClient(client)
        // A page of its own, with nothing that another one has read.
        const service = createStatus({
          config,
          db: createOrm(explaining.client, 'database') as unknown as Database,
          queue: { counts: async () => undefined } as unknown as JobQueue,
        })
        const page = await service.of(caller, query, { address: null, ready: null, doubts: {} })
        expect(page.headline.sentence, name).not.toBe('')
        const rows = explaining.rowsRead()
        expect(rows.length, name).toBeGreaterThan(5)
        // At most 2,000 messages with their validators, where a caller may see few of them; the tables have 100,000 rows and more.
        expect(
          rows.reduce((sum, some) => sum + some, 0),
          name,
        ).toBeLessThan(10_000)
      }
    } finally {
      await client.end()
    }
  })

  it.skipIf(skipWithoutChromium)('is gone through and searched in a browser', { timeout: 600_000 }, async () => {
    await using started = await startBrowser()
    await using watched = await openPage(started.browser, stage.url, stage.tokens.admin)
    const { page } = watched
    const keysShown = () =>
      page.evaluate<string[]>('[...document.querySelectorAll("#validators .row")].map(({ dataset }) => dataset.key)')
    await page.goto(`${stage.url}${PAGE_PATH}`)
    await page.locator('#validators h2', { hasText: /\((19|20)\d{3}|20000\)/ }).waitFor()
    const first = await keysShown()
    expect(first).toHaveLength(25)
    await page.locator('#validators .more a').click()
    await page.waitForURL(/\?after=\d+/)
    const second = await keysShown()
    expect(new Set([...first, ...second]).size).toBe(50)
    // One that no page near shows, and that is not collected.
    const wanted = `0x${(77_777).toString(16).padStart(96, '0')}`
    await page.locator('#key').fill(wanted.slice(0, 97))
    await page.locator('#validators button').click()
    await page.locator(`#validators .row[data-key="${wanted}"]`).waitFor()
    expect((await keysShown()).length).toBeLessThanOrEqual(25)
    watched.expectClean()
  })
})
