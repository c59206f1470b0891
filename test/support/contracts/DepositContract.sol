// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// A deposit contract with the interface, the event and the Merkle root of the real one: for tests only.
///
/// The root is hash_tree_root(List[DepositData, 2^32]), kept as one node per height: the newest complete left subtree. It needs
/// no constructor, so its code can be put at any address.
contract DepositContract {
    event DepositEvent(bytes pubkey, bytes withdrawal_credentials, bytes amount, bytes signature, bytes index);

    error WrongLength();
    error AmountTooSmall();
    error AmountNotInGwei();
    error AmountTooLarge();
    error WrongDepositDataRoot();
    error TreeFull();

    uint256 private constant HEIGHTS = 32;

    bytes32[HEIGHTS] private subtrees;
    uint64 private count;

    /// Takes a deposit of the amount sent. deposit_data_root guards against a damaged field: it must be that of the fields.
    function deposit(
        bytes calldata pubkey,
        bytes calldata withdrawal_credentials,
        bytes calldata signature,
        bytes32 deposit_data_root
    ) external payable {
        require(
            pubkey.length == 48 && withdrawal_credentials.length == 32 && signature.length == 96,
            WrongLength()
        );
        require(msg.value >= 1 ether, AmountTooSmall());
        require(msg.value % 1 gwei == 0, AmountNotInGwei());
        require(msg.value / 1 gwei <= type(uint64).max, AmountTooLarge());
        bytes memory amount = littleEndian(uint64(msg.value / 1 gwei));
        bytes32 leaf = dataRoot(pubkey, withdrawal_credentials, amount, signature);
        require(leaf == deposit_data_root, WrongDepositDataRoot());
        emit DepositEvent(pubkey, withdrawal_credentials, amount, signature, littleEndian(count));
        append(leaf);
    }

    function get_deposit_root() external view returns (bytes32) {
        bytes32 node;
        bytes32 empty;
        for ((uint256 height, uint256 size) = (0, count); height < HEIGHTS; (height, size) = (height + 1, size / 2)) {
            node = size % 2 == 1 ? parent(subtrees[height], node) : parent(node, empty);
            empty = parent(empty, empty);
        }
        return parent(node, bytes32(littleEndian(count)));
    }

    function get_deposit_count() external view returns (bytes memory) {
        return littleEndian(count);
    }

    /// A new leaf completes one left subtree for every trailing 1 bit of the count before; the first 0 bit takes the result.
    function append(bytes32 leaf) private {
        require(count < 2 ** HEIGHTS - 1, TreeFull());
        bytes32 node = leaf;
        uint256 height = 0;
        for (uint256 size = count; size % 2 == 1; size /= 2) node = parent(subtrees[height++], node);
        subtrees[height] = node;
        count++;
    }

    /// hash_tree_root(DepositData)
    function dataRoot(
        bytes calldata pubkey,
        bytes calldata credentials,
        bytes memory amount,
        bytes calldata signature
    ) private pure returns (bytes32) {
        bytes32 pubkeyRoot = sha256(bytes.concat(pubkey, bytes16(0)));
        bytes32 signatureRoot = parent(sha256(signature[:64]), sha256(bytes.concat(signature[64:], bytes32(0))));
        return parent(parent(pubkeyRoot, bytes32(credentials)), parent(bytes32(amount), signatureRoot));
    }

    function parent(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(bytes.concat(left, right));
    }

    function littleEndian(uint64 value) private pure returns (bytes memory result) {
        result = new bytes(8);
        for (uint256 i = 0; i < 8; i++) result[i] = bytes1(uint8(value >> (8 * i)));
    }
}
