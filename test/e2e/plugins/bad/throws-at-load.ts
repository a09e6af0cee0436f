// Throws while it is loaded.
export default undefined;

throw new Error("This host has no such device");
