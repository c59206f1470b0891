/**
 * Compiles a contract of this folder; kept in memory for the process, and beside what else is made of the sources for the next ones: the
 * compiler takes seconds. Run by itself, it compiles all.
 */

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
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

const require = createRequire(import.meta.url)
const FOLDER = fileURLToPath(new URL('../../../node_modules/.cache/contracts', import.meta.url))

/** The contract `name` of the file `<name>.sol`. */
export function compileContract(name: string): Compiled {
  const known = compiled.get(name)
  if (known !== undefined) return known
  const source = readFileSync(new URL(`${name}.sol`, import.meta.url), 'utf8')
  const result = fromFolder(name, source)
  compiled.set(name, result)
  return result
}

/** What the same compiler made of the same source, or what the next process will find. */
function fromFolder(name: string, source: string): Compiled {
  const input = inputOf(name, source)
  const { version } = require('solc/package.json') as { version: string }
  const file = join(FOLDER, `${name}-${createHash('sha256').update(version).update(input).digest('hex')}.json`)
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Compiled
  const made = compile(name, input)
  mkdirSync(FOLDER, { recursive: true })
  const aside = `${file}.${process.pid}`
  writeFileSync(aside, JSON.stringify(made))
  renameSync(aside, file)
  return made
}

/** All that the compiler is told. */
function inputOf(name: string, source: string): string {
  const outputs = ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object']
  return JSON.stringify({
    language: 'Solidity',
    sources: { [`${name}.sol`]: { content: source } },
    settings: { evmVersion: 'paris', optimizer: { enabled: true }, outputSelection: { '*': { '*': outputs } } },
  })
}

function compile(name: string, input: string): Compiled {
  const solc = require('solc') as Solc
  const file = `${name}.sol`
  const output = JSON.parse(solc.compile(input)) as Output
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

if (import.meta.main)
  for (const file of readdirSync(new URL('.', import.meta.url)))
    if (file.endsWith('.sol')) compileContract(file.slice(0, -'.sol'.length))
