/** Compiles a contract of this folder; kept in memory for the process, and in a folder of the test run for the others of it. */

import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Abi } from 'viem'

export interface Compiled {
  abi: Abi
  /** The code that makes the contract; the constructor's arguments follow it. */
  creationCode: `0x${string}`
  /** The code as it stands on chain, its immutables still zero. */
  runtimeCode: `0x${string}`
}

interface Solc {
  compile(input: string): string
}

interface Output {
  errors?: { severity: string; formattedMessage: string }[]
  contracts?: Record<
    string,
    Record<string, { abi: Abi; evm: { bytecode: { object: string }; deployedBytecode: { object: string } } }>
  >
}

const compiled = new Map<string, Compiled>()

/** The variable by which the folder for compiled contracts is handed to the workers of a run. */
export const TEST_CONTRACTS_DIR = 'DVT_TEST_CONTRACTS_DIR'

/** The contract `name` of the file `<name>.sol`. */
export function compileContract(name: string): Compiled {
  const known = compiled.get(name)
  if (known !== undefined) return known
  const source = readFileSync(new URL(`${name}.sol`, import.meta.url), 'utf8')
  const result = fromFolder(name, source) ?? compile(name, source)
  compiled.set(name, result)
  return result
}

/** What another worker of this run has compiled from the same source, or what it will find. */
function fromFolder(name: string, source: string): Compiled | undefined {
  const folder = process.env[TEST_CONTRACTS_DIR]
  if (folder === undefined) return undefined
  const file = join(folder, `${name}-${createHash('sha256').update(source).digest('hex')}.json`)
  if (!existsSync(file)) {
    const aside = `${file}.${process.pid}`
    writeFileSync(aside, JSON.stringify(compile(name, source)))
    renameSync(aside, file)
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Compiled
}

function compile(name: string, source: string): Compiled {
  const solc = createRequire(import.meta.url)('solc') as Solc
  const file = `${name}.sol`
  const outputs = ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object']
  const input = {
    language: 'Solidity',
    sources: { [file]: { content: source } },
    settings: { evmVersion: 'paris', optimizer: { enabled: true }, outputSelection: { '*': { '*': outputs } } },
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as Output
  const problems = (output.errors ?? []).map(({ formattedMessage }) => formattedMessage)
  const contract = output.contracts?.[file]?.[name]
  if (problems.length > 0 || contract === undefined)
    throw new Error(`${file} does not compile cleanly: ${problems.join('\n')}`)
  return {
    abi: contract.abi,
    creationCode: `0x${contract.evm.bytecode.object}`,
    runtimeCode: `0x${contract.evm.deployedBytecode.object}`,
  }
}
