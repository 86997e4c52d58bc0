//! What the shop sells: number, name and price of each product.

use crate::values::Cents;

/// Something that can be ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    pub(crate) sku: &'static str,
    pub(crate) name: &'static str,
    pub(crate) price: Cents,
}

const fn product(sku: &'static str, name: &'static str, cents: i64) -> Product {
    Product { sku, name, price: Cents(cents) }
}

/// Every product. Two names hold quotes, which every writer has to get right.
pub(crate) const PRODUCTS: [Product; 32] = [
    product("BAG-010", "Canvas shoulder bag", 3_450),
    product("BAG-020", "Travel backpack", 8_990),
    product("BOT-100", "Steel water bottle", 1_995),
    product("BOT-200", "Vacuum flask", 2_890),
    product("CAB-001", "USB-C cable, 1 m", 999),
    product("CAB-002", "USB-C cable, 2 m", 1_299),
    product("CHR-045", "Wall charger, 45 W", 2_499),
    product("CHR-100", "Wall charger, 100 W", 5_499),
    product("DSK-001", "Standing desk", 42_900),
    product("DSK-002", "Desk mat", 2_250),
    product("HDP-001", "Wireless headphones", 14_900),
    product("HDP-002", "Wired earphones", 1_790),
    product("KBD-060", "Compact keyboard", 7_900),
    product("KBD-104", "Full-size keyboard", 9_900),
    product("LMP-001", "Desk lamp", 3_990),
    product("LMP-002", "Reading light", 1_250),
    product("MON-024", "Monitor, 24\"", 17_900),
    product("MON-027", "Monitor, 27\"", 28_900),
    product("MSE-001", "Wireless mouse", 2_990),
    product("MSE-002", "Trackball", 4_990),
    product("MUG-001", "Barista's mug", 1_450),
    product("MUG-002", "Espresso cup, pair", 1_890),
    product("NBK-A05", "Notebook A5, dotted", 895),
    product("NBK-A04", "Notebook A4, ruled", 1_095),
    product("PEN-001", "Fountain pen", 3_200),
    product("PEN-002", "Ballpoint pens, pack of 10", 650),
    product("PHN-001", "Phone stand", 1_590),
    product("SPK-001", "Bookshelf speakers", 19_900),
    product("STK-001", "Sticker sheet", 299),
    product("TEA-001", "Green tea, 100 g", 1_190),
    product("TEA-002", "Black tea, 100 g", 990),
    product("WCM-001", "Webcam, 1080p", 5_990),
];
