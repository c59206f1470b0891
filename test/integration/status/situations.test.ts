/**
 * What goes wrong with a relayer, one thing after the other, each with a relayer of its own: whether page, command and routes say which
 * node is missing and since when, why a validator is not ready, what comes next, and what the manager may still move.
 */

import { randomBytes } from 'node:crypto'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { Explanation, ReasonCode, Status } from '@dvt-relayer/api/schemas.ts'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { openPage, skipWithoutChromium, startBrowser } from '../../support/browser/browser.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { startProcess } from '../../support/services/process.ts'
import { openStatusStage, type StatusStage } from '../../support/stages/status.ts'
import { partialExit, postShares, postValidators, sidecarRound } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually } from '../../support/world/world.ts'

interface Situation {
  /** Of the stage. */
  options?: NonNullable<Parameters<typeof openStatusStage>[1]>
  /** Makes it happen. */
  arrange(stage: StatusStage, world: VaultWorld): Promise<unknown>
  /** Why the first validator is not ready, where that is what is wrong. */
  code?: ReasonCode
  /** What page and command say. */
  says: RegExp
  /** Where the page leads. */
  anchor: string
  /** Whether the command, which reads the database alone, cannot know it. */
  isOfProcess?: true
}

const bearer = (stage: StatusStage, name: keyof StatusStage['tokens']) => ({
  authorization: `Bearer ${stage.tokens[name]}`,
})
/** An operator asks for the exits of all keys. */
const request = async (stage: StatusStage) =>
  eventually('the request', async () => {
    const { status } = await postValidators(stage.url, stage.keys, bearer(stage, 'owner'))
    return status === 200 ? true : undefined
  })
/** Nodes of these share indexes sign what is asked for. */
async function sign(stage: StatusStage, { network }: VaultWorld, ...shareIndexes: number[]): Promise<void> {
  for (const index of shareIndexes) {
    const headers = bearer(stage, `node-${index}` as keyof StatusStage['tokens'])
    expect((await sidecarRound(stage.url, network, stage.cluster.validators, index, headers)).status).toBe(200)
  }
}
/** Nodes of these share indexes sign something else. */
async function lie(stage: StatusStage, { network }: VaultWorld, ...shareIndexes: number[]): Promise<void> {
  for (const index of shareIndexes) {
    const shares = stage.cluster.validators.map((validator, position) => ({
      public_key: stage.keys[position] ?? '',
      exit_signature: partialExit(network, validator, index, 99_999),
    }))
    await postShares(stage.url, index, shares, bearer(stage, `node-${index}` as keyof StatusStage['tokens']))
  }
}
const away = 'http://127.0.0.1:9'

const SITUATIONS: Readonly<Record<string, Situation>> = {
  'a node is down': {
    async arrange(stage, world) {
      const node = await stage.startNode(3)
      // Of one that is killed before it has ever waited for news it is known after two minutes only.
      await eventually('the node', async () => {
        const [row] = await stage.query(
          `select 1 from nodes_seen where token_name = 'node-3' and listed_at > online_since + interval '1 second'`,
        )
        return row
      })
      await node.end('SIGKILL')
      await request(stage)
      await sign(stage, world, 1, 4)
      // This one is there, and at it.
      await ask(stage.url, routes.getExits.path, { headers: bearer(stage, 'node-2') })
    },
    code: 'NODE_AWAY',
    says: /node 3 of cluster "Blue cluster" is away, last seen at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/,
    anchor: 'a-node-is-missing',
  },
  'a node has the token of another one': {
    async arrange(stage, world) {
      await request(stage)
      await sign(stage, world, 2)
      // Its own doctor says so at once; existing sidecars just post.
      const [validator] = stage.cluster.validators
      if (validator === undefined) throw new Error('a cluster without validators')
      const exit = partialExit(world.network, validator, 4, 1)
      const answer = await postShares(
        stage.url,
        4,
        [{ public_key: stage.keys[0] ?? '', exit_signature: exit }],
        bearer(stage, 'node-1'),
      )
      expect(answer.status).toBe(403)
    },
    code: 'NODE_REFUSED',
    says: /what node 1 of cluster "Blue cluster" sends is refused with TOKEN_BINDING/,
    anchor: 'a-node-is-refused',
  },
  'a node lies': {
    async arrange(stage, world) {
      await request(stage)
      await sign(stage, world, 1, 2)
      await lie(stage, world, 3)
    },
    code: 'SHARE_REJECTED',
    says: /of 3 validators: these nodes have handed in signatures that are not of their share/,
    anchor: 'a-share-is-rejected',
  },
  'nodes have another lock': {
    async arrange(stage, world) {
      await request(stage)
      await lie(stage, world, 3, 4)
    },
    code: 'THRESHOLD_UNREACHABLE',
    says: /of 3 validators: so many nodes have handed in wrong signatures/,
    anchor: 'too-many-shares-are-missing',
  },
  'no worker is there': {
    options: { settings: { ROLE: 'api' } },
    async arrange(stage, world) {
      await request(stage)
      await sign(stage, world, 1, 2, 3)
    },
    code: 'NO_WORKER',
    says: /no process of the role worker or all is there, so nothing is finished/i,
    anchor: 'no-worker',
  },
  'the wallet is not the manager of the vault': {
    options: { manager: '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed' },
    arrange: async () => undefined,
    says: /manager is not well: .*0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed/i,
    anchor: 'a-service-is-away',
    isOfProcess: true,
  },
  'no key is left': {
    options: { isLockForeign: true },
    arrange: async () => undefined,
    says: /vault 0x[0-9a-fA-F]{40} has no key left/i,
    anchor: 'keys-run-out',
    isOfProcess: true,
  },
  'somebody took the index': {
    async arrange(stage, world) {
      await request(stage)
      world.beacon.addValidator({
        publicKey: new Uint8Array(randomBytes(48)),
        withdrawalCredentials: new Uint8Array(32),
        balanceGwei: 32_000_000_000n,
        status: 'active_ongoing',
      })
      await eventually('another index', async () => {
        await request(stage)
        return (await explain(stage)).exit?.superseded === 1 || undefined
      })
    },
    code: 'NODE_NEVER_SEEN',
    says: /3 validators wait for signatures of nodes/,
    anchor: 'it-goes-on-by-itself',
  },
  'no oracle set comes': {
    options: { settings: { IPFS_FETCH_ENDPOINTS: away } },
    async arrange(stage, world) {
      await request(stage)
      await sign(stage, world, 1, 2, 3)
    },
    code: 'ORACLE_SET_MISSING',
    says: /3 exits cannot be split: no oracle config is known yet/,
    anchor: 'no-oracle-set',
  },
  'shares are of earlier oracles, and nobody renews them': {
    async arrange(stage) {
      const [old] = await stage.query<{ id: number }>(
        `insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at)
         values ('old', 1, $1, '{"untilForceExitEpochs": 10}', 0, now() - interval '2 days') returning id::int`,
        [Buffer.alloc(65)],
      )
      await stage.query(
        `update validators set registered_at = now(), beacon_index = id + 1000000, beacon_vault = withdrawal_address, oracle_set_id = $1`,
        [old?.id],
      )
    },
    code: 'SHARES_OUTDATED',
    says: /3 validators of vault 0x[0-9a-fA-F]{40} have shares of earlier oracles/,
    anchor: 'shares-are-outdated',
  },
  'the daily limit is reached': {
    arrange: (stage) =>
      stage.query(
        `insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest)
         values ('fund', $1, 'owner', $2, $2, 1, 32000000000, $2)`,
        [Buffer.from(stage.vault.address.slice(2), 'hex'), randomBytes(32)],
      ),
    says: /what the manager may move of vault 0x[0-9a-fA-F]{40} within a day is used up/i,
    anchor: 'the-daily-limit-is-reached',
  },
  'a clock is off': {
    arrange: (stage) =>
      ask(stage.url, routes.getExits.path, {
        headers: { ...bearer(stage, 'node-2'), date: new Date(Date.now() - 90_000).toUTCString() },
      }),
    says: /the clock of node 2 is \d\d s behind the relayer's/,
    anchor: 'a-clock-is-off',
  },
  'the consensus node is away': {
    options: { settings: { CONSENSUS_ENDPOINT: away } },
    arrange: async () => undefined,
    says: /consensus is not well: /i,
    anchor: 'a-service-is-away',
    isOfProcess: true,
  },
}

async function statusOf(stage: StatusStage): Promise<Status> {
  return (await ask(stage.url, routes.getStatus.path, { headers: bearer(stage, 'admin') })).json as Status
}
async function explain(stage: StatusStage): Promise<Explanation> {
  const path = routes.getExplanation.path.replace(':public_key', stage.keys[0] ?? '')
  return (await ask(stage.url, path, { headers: bearer(stage, 'admin') })).json as Explanation
}

describe.skipIf(skipWithoutAnvil || skipWithoutChromium)('it is said by route, page and command that', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let browser: Browser
  beforeAll(async () => {
    world = resources.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
    browser = resources.use(await startBrowser()).browser
  })
  afterAll(() => resources.disposeAsync())
  const open = async (options?: Situation['options']) => {
    const stage = await openStatusStage(world, options)
    onTestFinished(() => stage[Symbol.asyncDispose]())
    return stage
  }

  it.each(Object.entries(SITUATIONS))(
    '%s',
    async (_name, { options, arrange, code, says: words, anchor, isOfProcess }) => {
      // The headline begins with a capital.
      const says = new RegExp(words.source, 'i')
      const stage = await open(options)
      await arrange(stage, world)
      await stage.announce()
      const status = await eventually('what is wrong', async () => {
        const found = await statusOf(stage)
        return found.problems.some(({ sentence }) => says.test(sentence)) ? found : undefined
      })
      expect(status.problems.find(({ sentence }) => says.test(sentence))?.anchor).toBe(anchor)
      if (code !== undefined)
        await eventually(code, async () => ((await explain(stage)).verdict.code === code ? true : undefined))

      await using watched = await openPage(browser, stage.url, stage.tokens.admin)
      const { page } = watched
      await page.goto(`${stage.url}/status`)
      const line = page.locator('.headline p, .problems li', { hasText: says }).first()
      await line.waitFor()
      if (code !== undefined && !['SHARES_OUTDATED', 'ORACLE_SET_MISSING'].includes(code))
        await page.locator(`#validators .row[data-key="${stage.keys[0]}"] .verdict`, { hasText: code }).waitFor()
      await line.locator('a').click()
      await page.locator(`h2#${anchor}`).waitFor()
      watched.expectClean()

      if (isOfProcess) return
      const command = startProcess('relayer', world.environment({ ...stage.environment, LOG_LEVEL: 'error' }), [
        'status',
      ])
      await command.ended
      expect(command.output()).toMatch(says)
    },
  )

  it('the database is away, and goes on by itself when it is back', async () => {
    const stage = await open()
    await eventually('the first count', async () => ((await statusOf(stage)).clusters?.length > 0 ? true : undefined))
    // What a browser says of an answer of 503 is no fault of the page.
    const { page, ...watched } = await openPage(browser, stage.url, stage.tokens.admin)
    await page.goto(`${stage.url}/status`)
    await page.locator('#clusters h3', { hasText: 'Blue cluster' }).waitFor()
    stage.proxy.behave({ sqlstate: '57P03', message: 'the database system is shutting down' })
    await page.locator('.headline.bad', { hasText: 'The database cannot be read' }).waitFor()
    await page.locator('#services .bad[data-key="database"]').waitFor()
    stage.proxy.behave('pass')
    await page.locator('#clusters h3', { hasText: 'Blue cluster' }).waitFor()
    await watched[Symbol.asyncDispose]()
  })
})
