/** An oracle as a process of its own: settings from the environment, HTTP on a free port; it ends with whoever started it. */

import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import type { Hex } from 'viem'
import { hexToBytes } from 'viem/utils'
import { PATIENCE_MS } from '../../demo/wait.ts'
import { createKeeperLog } from './keeper-log.ts'
import { createOracle, type Misconduct, Refusal } from './oracle.ts'

/** How it behaves from now on; what is left out is as it should be. Set by `POST /control`. */
export interface Behaviour extends Misconduct {
  /** Connections are cut. */
  down?: boolean
  /** Each answer takes this long. */
  slowMs?: number
}

const setting = (name: string): string => process.env[name] ?? fail(`${name} is not set`)
const [execution, consensus, ipfs] = ['EXECUTION_ENDPOINT', 'CONSENSUS_ENDPOINT', 'IPFS_ENDPOINT'].map(setting)
const file = JSON.parse(readFileSync(setting('NETWORK'), 'utf8'))

async function askJson(url: string, body?: object): Promise<unknown> {
  const response = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    // A connection left idle while shares are checked, which takes all of this process, may be closed when it is needed.
    headers: { 'content-type': 'application/json', connection: 'close' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
  if (!response.ok) throw new Error(`${new URL(url).pathname} answers ${response.status}`)
  return response.json()
}

async function rpc(method: string, ...params: unknown[]): Promise<unknown> {
  const answer = await askJson(execution ?? '', { jsonrpc: '2.0', id: 1, method, params })
  const { result, error } = answer as { result: unknown; error?: { message: string } }
  if (error !== undefined) throw new Error(`${method}: ${error.message}`)
  return result
}

const contents = new Map<string, Promise<unknown>>()
function fetchContent(cid: string): Promise<unknown> {
  const content = contents.get(cid) ?? askJson(`${ipfs}/ipfs/${cid}`)
  contents.set(cid, content)
  content.catch(() => contents.delete(cid))
  return content
}

const oracle = createOracle({
  secretKey: setting('ORACLE_KEY') as Hex,
  network: {
    chainId: file.chain_id,
    keeper: file.keeper,
    capellaEpoch: file.capella_epoch,
    capellaForkVersion: hexToBytes(file.capella_fork_version),
    genesisValidatorsRoot: hexToBytes(file.genesis_validators_root),
  },
  log: createKeeperLog({ keeper: file.keeper, fromBlock: file.keeper_block, rpc, fetch: fetchContent }),
  fetch: fetchContent,
  publish: async (content) => ((await askJson(`${ipfs}/api/v0/add`, content)) as { Hash: string }).Hash,
  async findValidators(keys) {
    const answer = await askJson(`${consensus}/eth/v1/beacon/states/head/validators`, { ids: keys })
    const { data } = answer as {
      data: { index: string; validator: { pubkey: string; withdrawal_credentials: Hex } }[]
    }
    return new Map(
      data.map(({ index, validator }) => [
        validator.pubkey,
        { index: Number(index), withdrawalCredentials: validator.withdrawal_credentials },
      ]),
    )
  },
})

let behaviour: Behaviour = {}

async function answer(method: string, path: string, body: Record<string, unknown>): Promise<object | undefined> {
  const vault = /^\/signatures\/([^/]+)$/.exec(path)?.[1]
  if (method === 'GET' && vault !== undefined) return oracle.listOutdated(vault, behaviour)
  if (method === 'POST' && path === '/signatures') return oracle.approveUpdate(body, behaviour)
  if (method === 'POST' && path === '/validators') return oracle.approveRegistration(body, behaviour)
  if (method === 'POST' && path === '/control/fetch') return compareFetched(String(body['relayer']))
  return undefined
}

/** Fetches its shares from a relayer, page by page, and compares them with what it was handed when it approved them. */
async function compareFetched(relayer: string): Promise<{ same: number; different: string[]; missing: string[] }> {
  const fetched = new Map<string, string>()
  for (let query = '?limit=2'; ; ) {
    const page = (await askJson(`${relayer}/oracles/${oracle.address}/exit-shares${query}`)) as {
      exit_shares: { public_key: string; encrypted_exit_signature: string; oracle_set: { cid: string } }[]
      cursor: string
    }
    for (const item of page.exit_shares)
      fetched.set(`${item.public_key} ${item.oracle_set.cid}`, item.encrypted_exit_signature)
    if (page.exit_shares.length === 0) break
    query = `?limit=2&after=${page.cursor}`
  }
  const differs = (share: string) => fetched.get(share) !== oracle.handed.get(share)
  return {
    same: [...fetched.keys()].filter((share) => !differs(share)).length,
    different: [...fetched.keys()].filter(differs),
    missing: [...oracle.handed.keys()].filter((share) => !fetched.has(share)),
  }
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const text = Buffer.concat(await request.toArray()).toString()
  return text === '' ? {} : JSON.parse(text)
}

const tell = (msg: string, fields: object) => process.stdout.write(`${JSON.stringify({ msg, ...fields })}\n`)

const server = createServer(async (request, response) => {
  const { method = '', url = '' } = request
  const send = (status: number, value: object): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  }
  try {
    const body = await readBody(request)
    if (method === 'POST' && url === '/control') {
      behaviour = body
      return send(200, {})
    }
    if (!url.startsWith('/control')) {
      if (behaviour.down) return void request.socket.destroy()
      if (behaviour.slowMs !== undefined) await setTimeout(behaviour.slowMs)
    }
    const value = await answer(method, url, body)
    tell('answered', { method, url, found: value !== undefined })
    send(value === undefined ? 404 : 200, value ?? { error: 'no such path' })
  } catch (error) {
    const { message, cause } = error as Error
    const reason = cause === undefined ? message : `${message}: ${String(cause)}`
    tell('refused', { method, url, reason })
    send(error instanceof Refusal ? 400 : 500, { error: reason })
  }
})
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  tell('oracle started', { url: `http://127.0.0.1:${port}`, address: oracle.address })
})
// The pipe closes with the process at its other end, however that ends.
process.stdin.on('end', () => process.exit(0)).resume()

function fail(message: string): never {
  throw new Error(message)
}
