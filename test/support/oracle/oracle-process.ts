/** Oracles as processes (`oracle/main.ts`), each with its key, on the nodes of a world. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import type { Hex } from 'viem'
import { PATIENCE_MS } from '../../demo/wait.ts'
import { makeOracles, type TestOracle } from '../chain/oracles.ts'
import { programFile } from '../runner/programs.ts'
import { startProgram } from '../services/process.ts'
import type { VaultWorld } from '../world/vault-world.ts'
import { ask } from '../world/world.ts'
import type { Behaviour } from './main.ts'

/** A test that was busy for some seconds has not noticed which connections were closed meanwhile. */
const FRESH = { connection: 'close' }

export interface OracleProcess extends TestOracle, AsyncDisposable {
  /** Checksummed. */
  readonly address: Hex
  readonly url: string
  /** What its config says; the first leads nowhere, as of a replica that is gone. */
  readonly endpoints: readonly string[]
  /** How it behaves from now on; nothing given, as it should. */
  behave(behaviour: Behaviour): Promise<void>
  /**
   * Fetches its shares from a relayer and compares them with what it was handed in requests that it approved: how many are the same,
   * and which (`<validator key> <CID of the config>`) are not, or are not there.
   */
  fetchFrom(relayerUrl: string): Promise<{ same: number; different: string[]; missing: string[] }>
  /** What it has answered and refused, one JSON a line. */
  output(): string
}

type Nodes = Pick<VaultWorld, 'networkFile' | 'anvil' | 'beacon' | 'ipfs'>

/** Starts oracles with random keys, all at once. They end with this process, however that ends. */
export async function startOracles(nodes: Nodes, count: number): Promise<OracleProcess[]> {
  const started = await Promise.allSettled(makeOracles(count).map((oracle) => startOracle(nodes, oracle)))
  const running = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failure = started.find((result) => result.status === 'rejected')
  if (failure === undefined) return running
  await Promise.all(running.map((oracle) => oracle[Symbol.asyncDispose]()))
  throw failure.reason
}

async function startOracle({ networkFile, anvil, beacon, ipfs }: Nodes, oracle: TestOracle): Promise<OracleProcess> {
  const program = startProgram('oracle', ['--max-semi-space-size=1', programFile('test/support/oracle/main.ts')], {
    NETWORK: networkFile,
    EXECUTION_ENDPOINT: anvil.url,
    CONSENSUS_ENDPOINT: beacon.url,
    IPFS_ENDPOINT: ipfs.url,
    ORACLE_KEY: toHex(oracle.secretKey),
  })
  let line: Record<string, unknown>
  try {
    line = await withTimeout(program.logged('oracle started'), PATIENCE_MS)
  } catch (error) {
    await program[Symbol.asyncDispose]()
    throw error
  }
  const url = String(line['url'])
  return {
    ...oracle,
    address: line['address'] as Hex,
    url,
    endpoints: ['http://127.0.0.1:9', url],
    async behave(behaviour) {
      const { status, text } = await ask(url, '/control', { body: behaviour, headers: FRESH })
      if (status !== 200) throw new Error(text)
    },
    async fetchFrom(relayer) {
      const { status, json, text } = await ask(url, '/control/fetch', { body: { relayer }, headers: FRESH })
      if (status !== 200) throw new Error(text)
      return json as Awaited<ReturnType<OracleProcess['fetchFrom']>>
    },
    output: program.output,
    [Symbol.asyncDispose]: program[Symbol.asyncDispose],
  }
}
