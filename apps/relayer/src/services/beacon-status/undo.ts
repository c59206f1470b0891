/**
 * Undoing what was noted of a registered validator on the word of a consensus node that was wrong: an administrator's deliberate act.
 * What every configured consensus node says is never undone, so nothing rightly registered is put at risk.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import type { NotedRow } from '@dvt-relayer/db/queries/registered.ts'
import { findNoted, forgetExited, forgetRegistration } from '@dvt-relayer/db/queries/registered.ts'
import type { Context } from '../../context.ts'
import { showAgain } from '../oracles/show-again.ts'
import { hasLeft, vaultOf } from './beacon-status.ts'

type Noted = NotedRow & { beaconIndex: number }

/**
 * Takes back that a validator is registered, where no finalized state has it so; or only that it has left, where all have it as active.
 *
 * @throws {BootError} KEY_UNKNOWN, NOT_REGISTERED, NODES_DISAGREE (one of them is away, or they differ), REGISTERED_RIGHTLY, EXIT_ERASED:
 * nothing is changed then
 */
export async function undoRegistered(
  { db, consensusNodes, events }: Pick<Context, 'db' | 'events'> & Pick<Context['chain'], 'consensusNodes'>,
  publicKey: Uint8Array,
): Promise<'registration' | 'exit'> {
  assertNoted(await findNoted(db, publicKey))
  const validator = await askAll(consensusNodes, publicKey)
  const { what, noted } = await db.transaction(async (tx) => {
    await lockValidators(tx, [publicKey])
    const row = assertNoted(await findNoted(tx, publicKey))
    const wrong = wrongOf(row, validator)
    if (wrong === 'exit') await forgetExited(tx, row.id)
    else {
      if (row.isErased) throw erased()
      await forgetRegistration(tx, row.id)
      // Which share sets oracles are given hangs on it, and which vault's they are.
      await showAgain(tx, [row.id])
    }
    return { what: wrong, noted: row }
  })
  const { beaconIndex: validatorIndex, vault } = noted
  events.registrationUndone(what, { publicKey, validatorIndex, vault })
  return what
}

function assertNoted(row: NotedRow | undefined): Noted {
  if (row === undefined)
    throw new BootError(
      'KEY_UNKNOWN',
      "the database does not know this public key: is it the right key, and are DATA_DIR and DATABASE_URL the relayer's?",
    )
  const { beaconIndex } = row
  if (beaconIndex === null) throw new BootError('NOT_REGISTERED', 'the key is not noted as registered')
  return { ...row, beaconIndex }
}

/** The validator as the finalized states of all nodes have it; undefined where none does. */
async function askAll(
  nodes: Context['chain']['consensusNodes'],
  publicKey: Uint8Array,
): Promise<ChainValidator | undefined> {
  const answers = await Promise.all(
    nodes.map(async (node) => {
      try {
        return (await node.findFinal([publicKey])).get(toHex(publicKey))
      } catch (error) {
        throw new BootError(
          'NODES_DISAGREE',
          `every consensus node of CONSENSUS_ENDPOINT has to say what it knows, and one does not: ${messageOf(error)}. Nothing is changed; take a node that is gone for good out of the setting`,
          { cause: error },
        )
      }
    }),
  )
  const [first] = answers
  if (answers.every((answer) => isSame(answer, first))) return first
  throw new BootError(
    'NODES_DISAGREE',
    'the consensus nodes of CONSENSUS_ENDPOINT differ about this key. Nothing is changed; find out which of them is wrong, take it out of the setting, restart the relayer, and run this again',
  )
}

const isSame = (a: ChainValidator | undefined, b: ChainValidator | undefined): boolean =>
  a === undefined || b === undefined
    ? a === b
    : a.index === b.index && a.withdrawalCredentials === b.withdrawalCredentials && hasLeft(a) === hasLeft(b)

/** What is wrong of what was noted. */
function wrongOf(noted: Noted, validator: ChainValidator | undefined): 'registration' | 'exit' {
  if (validator === undefined || validator.index !== noted.beaconIndex) return 'registration'
  const vault = vaultOf(validator)
  const none = new Uint8Array()
  if (!equalBytes(vault ?? none, noted.vault ?? none)) return 'registration'
  if (noted.hasLeft && !hasLeft(validator)) return 'exit'
  throw new BootError(
    'REGISTERED_RIGHTLY',
    `all consensus nodes have the validator in their finalized states as it was noted, at index ${noted.beaconIndex}. Nothing is changed`,
  )
}

const erased = () =>
  new BootError(
    'EXIT_ERASED',
    'an exit of this key was erased, and undoing the registration would not bring it back. Nothing is changed. What remains possible: the vault registers another key; an operator of generation 3 asks for the key again (POST /validators), and its nodes sign a new exit; the encrypted shares that oracles were given stay, and rebuild the old one',
  )
