/** What an attack is, and what it is given to work with. */

import type { AttackStage } from './stage.ts'

/** What an attacker knows: where the relayer is, what it was given by those who run it, and keys that everybody can see. */
export interface Scene {
  url: string
  tokens: { node: string; anyNode: string; operator: string; foreign: string }
  vaults: { own: string; foreign: string }
  /** Keys whose exits are wanted: many, those that honest nodes sign, and one that is handed out with its deposit. */
  keys: { many: string[]; signed: string[]; registered: string }
  /** Validators of a vault that the manager's wallet signs for. */
  managed: string[]
  /** Right points of the group, and no signatures of anything. */
  points: string[]
}

/** What is asked again and again beside an attack, as those do who have a right to. */
export interface HonestCaller {
  who: string
  path: string
  token?: string | undefined
  body?: string | undefined
  /** Secret key of an oracle, which signs each request. */
  oracle?: string | undefined
  /** What stands in every right answer. */
  has: string
  /** Follows a list: asks for what is newer than it has. */
  isFollowing?: boolean | undefined
}

/** Who is attacked: a process, and who calls it. */
export interface Victim extends AsyncDisposable {
  pid: number
  url: string
  callers: HonestCaller[]
}

/** What an attack leaves behind, in words, and whether that is what it may. */
export interface Left {
  text: string
  isRight: boolean
}

/** One attack. `setUp` and `run` are done in a process of its own; the others where the stage is. */
export interface Attack {
  id: string
  name: string
  /**
   * What it is answered when it gets to what it is about; besides, it may be kept waiting or cut off. Any other answer says that it does not,
   * and that its numbers mean nothing.
   */
  reaches: readonly string[]
  /** Before the quiet measurement; returns where the attacker itself can be called. */
  setUp?(): Promise<string>
  /** Begins, and goes on until the process ends. Resolves when the attack is under way. */
  run(scene: Scene, count: (answer: string) => void): Promise<void>
  /** What has to be in the database first, or to be known from before. */
  prepare?(stage: AttackStage): Promise<void>
  /** Who is attacked, where that is not the relayer. */
  victim?(stage: AttackStage, attackerUrl: string): Promise<Victim>
  /** Called when it is over, with how long it went on. */
  left?(stage: AttackStage, log: string, seconds: number): Promise<Left>
}
