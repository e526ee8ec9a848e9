//! Products and their stock numbers. Even a product without options has one stock number, and that is what sells.

use std::collections::BTreeMap;

use roxmltree::Document;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Refusal},
    elevenst::xml::{
        Verdict, child_text, client_message, decode, document, element, elements, parent, read,
        rooted,
    },
    market::{MAX_HELD, NewItem, NewLine, NewOption, StockChange},
};

/// The most units a stock number takes.
const MOST_UNITS: u64 = 99_999_999;
/// The most won a product costs.
const MOST_WON: u64 = 999_999_990;

/// What can be sold of a product.
#[derive(Clone, Debug)]
struct Stock {
    /// `prdStckNo`.
    no: String,
    /// None for the one stock number of a product without options.
    option: Option<String>,
    /// On top of the product's price.
    extra: i64,
    units: u64,
    weight: String,
    seller_code: String,
}

impl Stock {
    /// `prdStckStatCd`: a number of units above zero is enough to be sold again.
    fn status(&self) -> &'static str {
        if self.units == 0 { "02" } else { "01" }
    }
}

/// The seller's instant discount of a product.
#[derive(Clone, Copy, Debug)]
struct Discount {
    value: u64,
    unit: Unit,
}

/// `cupnDscMthdCd`: what a discount is counted in.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Unit {
    Won,
    Percent,
}

/// The body of the action `discount`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewDiscount {
    product_id: String,
    /// 0 takes it back.
    value: u64,
    unit_type: Unit,
}

impl Discount {
    fn of(self, price: u64) -> u64 {
        match self.unit {
            Unit::Won => self.value,
            Unit::Percent => price * self.value / 100,
        }
        .min(price)
    }

    fn fields(self) -> Vec<(&'static str, String)> {
        let unit = match self.unit {
            Unit::Won => "01",
            Unit::Percent => "02",
        };
        vec![
            ("dscAmtPercnt", self.value.to_string()),
            ("cupnDscMthdCd", unit.to_owned()),
            ("cupnUseLmtDyYn", "N".to_owned()),
        ]
    }
}

#[derive(Clone, Debug)]
struct Product {
    name: String,
    seller_code: String,
    price: u64,
    discount: Option<Discount>,
    /// The seller stopped the display.
    stopped: bool,
    stocks: Vec<Stock>,
}

impl Product {
    /// 103 on sale, 104 sold out, 105 display stopped.
    fn state(&self) -> u16 {
        if self.stopped {
            105
        } else if self.stocks.iter().all(|stock| stock.units == 0) {
            104
        } else {
            103
        }
    }
}

/// What an order line keeps of what it bought: a later price is not its price.
#[derive(Clone, Debug)]
pub(crate) struct Bought {
    pub(crate) product_no: String,
    pub(crate) product_name: String,
    pub(crate) product_code: String,
    pub(crate) stock_no: String,
    pub(crate) stock_code: String,
    pub(crate) option: Option<String>,
    pub(crate) price: u64,
    pub(crate) extra: i64,
    /// What the seller gave of the price of one.
    pub(crate) discount: u64,
}

impl Bought {
    /// The option as a buyer chose it: what is chosen, and the choice.
    pub(crate) fn option_text(&self) -> Option<String> {
        let option = self.option.as_ref()?;
        Some(if option.contains(':') {
            option.clone()
        } else {
            format!("선택:{option}")
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Goods {
    products: BTreeMap<String, Product>,
    /// How many numbers of each kind have been given out.
    product_numbers: u64,
    stock_numbers: u64,
    changes: Vec<StockChange>,
}

impl Goods {
    pub(crate) fn take_changes(&mut self) -> Vec<StockChange> {
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn add(&mut self, item: NewItem) -> Result<Value, Refusal> {
        if self.products.len() >= MAX_HELD {
            return Err(Refusal::impossible("There are too many products."));
        }
        if item.stock.is_some() && !item.options.is_empty() {
            return Err(Refusal::invalid("With options, each option has its stock."));
        }
        let no = match item.product_id {
            Some(no) => no,
            None => self.next_product_no(),
        };
        if self.products.contains_key(&no) {
            return Err(Refusal::impossible(format!("Product {no} is there.")));
        }
        let stocks: Vec<Stock> = if item.options.is_empty() {
            vec![Stock {
                no: item.option_id.unwrap_or_else(|| self.next_stock_no()),
                option: None,
                extra: 0,
                units: item.stock.unwrap_or_default(),
                weight: "0".to_owned(),
                seller_code: item.seller_code.clone().unwrap_or_default(),
            }]
        } else {
            item.options
                .into_iter()
                .map(|option| self.new_stock(option))
                .collect()
        };
        for stock in &stocks {
            let others = stocks.iter().filter(|other| other.no == stock.no).count();
            if others > 1 || self.product_of(&stock.no).is_some() {
                let why = format!("Stock number {} is there.", stock.no);
                return Err(Refusal::impossible(why));
            }
        }
        let product = Product {
            name: item.name,
            seller_code: item.seller_code.unwrap_or_default(),
            price: item.price,
            discount: None,
            stopped: false,
            stocks,
        };
        let shown = shown(&no, &product);
        self.products.insert(no, product);
        Ok(shown)
    }

    pub(crate) fn show(&self) -> Vec<Value> {
        let each = self.products.iter();
        each.map(|(no, product)| shown(no, product)).collect()
    }

    /// Takes the units of all lines, or of none.
    pub(crate) fn sell(&mut self, lines: &[NewLine]) -> Result<Vec<Bought>, Refusal> {
        let mut bought = Vec::new();
        let mut wanted: BTreeMap<(String, String), u64> = BTreeMap::new();
        for line in lines {
            let (product_no, stock_no) = self.find(line)?;
            *wanted.entry((product_no, stock_no)).or_default() += line.quantity;
        }
        for ((product_no, stock_no), units) in &wanted {
            let product = self.product(product_no)?;
            if product.stopped {
                return Err(Refusal::impossible(format!("{product_no} is not shown.")));
            }
            let stock = stock_of(product, stock_no)?;
            if stock.units < *units {
                let why = format!("{} units of {stock_no} are left.", stock.units);
                return Err(Refusal::impossible(why));
            }
        }
        for line in lines {
            let (product_no, stock_no) = self.find(line)?;
            let product = self.product(&product_no)?;
            let stock = stock_of(product, &stock_no)?;
            bought.push(Bought {
                product_name: product.name.clone(),
                product_code: product.seller_code.clone(),
                price: product.price,
                stock_code: stock.seller_code.clone(),
                option: stock.option.clone(),
                extra: stock.extra,
                discount: product
                    .discount
                    .map_or(0, |discount| discount.of(product.price)),
                product_no,
                stock_no,
            });
        }
        for ((product_no, stock_no), units) in wanted {
            self.change_units(&product_no, &stock_no, |left| left.saturating_sub(units));
        }
        Ok(bought)
    }

    pub(crate) fn give_back(&mut self, bought: &Bought, units: u64) {
        self.change_units(&bought.product_no, &bought.stock_no, |left| left + units);
    }

    pub(crate) fn discount(&mut self, new: NewDiscount) -> Result<Value, Refusal> {
        let product = self
            .products
            .get_mut(&new.product_id)
            .ok_or_else(|| Refusal::not_found("product", &new.product_id))?;
        product.discount = (new.value > 0).then_some(Discount {
            value: new.value,
            unit: new.unit_type,
        });
        Ok(shown(&new.product_id, product))
    }

    /// `prodmarket/{prdNo}`: what a seller registered, the seller's instant discount included; no surcharges.
    pub(crate) fn read_product(&self, product_no: &str) -> Answer {
        let Some(product) = self.products.get(product_no) else {
            return no_such_product(product_no);
        };
        let mut fields = vec![
            ("prdNo", product_no.to_owned()),
            ("prdNm", product.name.clone()),
            ("sellerPrdCd", product.seller_code.clone()),
            ("selPrc", product.price.to_string()),
            ("selStatCd", product.state().to_string()),
        ];
        fields.extend(product.discount.map(Discount::fields).unwrap_or_default());
        fields.push(("message", format!("[{product_no}] 조회되었습니다.")));
        document(&parent("Product", &elements(&fields)))
    }

    /// `stck/{prdNo}`.
    pub(crate) fn read_stock(&self, product_no: &str) -> Answer {
        let Some(product) = self.products.get(product_no) else {
            return no_such_product(product_no);
        };
        let mut children: Vec<_> = product
            .stocks
            .iter()
            .map(|stock| parent("ns2:ProductStock", &stock_fields(product_no, stock)))
            .collect();
        children.push(element("ns2:prdNm", &product.name));
        children.push(element("ns2:prdNo", product_no));
        children.push(element("ns2:sellerPrdCd", &product.seller_code));
        document(&rooted("ns2:ProductStocks", &children))
    }

    /// `PUT stockqty/{prdStckNo}`: the number that the body says, whatever was sold meanwhile.
    pub(crate) fn write_stock(&mut self, stock_no: &str, body: &[u8]) -> Answer {
        let text = decode(body);
        let written = read(&text).and_then(|document| StockBody::read(&document));
        let StockBody {
            product_no,
            named_no,
            units,
            weight,
        } = match written {
            Ok(written) => written,
            Err(verdict) => return client_message(stock_no, &verdict, &[]),
        };
        let fits = named_no == stock_no
            && self
                .products
                .get(&product_no)
                .is_some_and(|product| stock_of(product, stock_no).is_ok());
        if !fits {
            let verdict = Verdict::new(404, "해당 재고번호가 존재하지 않습니다.");
            return client_message(stock_no, &verdict, &[]);
        }
        self.change_units(&product_no, stock_no, |_| units);
        if let Some(stock) = self.stock_mut(&product_no, stock_no) {
            stock.weight = weight;
        }
        let verdict = Verdict::new(200, "재고 수량이 변경되었습니다.");
        client_message(stock_no, &verdict, &[])
    }

    /// `stopdisplay` and `restartdisplay`. What a repeat is answered is not documented: it is refused here, since that
    /// is the harder case for a caller.
    pub(crate) fn display(&mut self, product_no: &str, stop: bool) -> Answer {
        let Some(product) = self.products.get_mut(product_no) else {
            return no_such_product(product_no);
        };
        let verdict = if product.stopped == stop {
            Verdict::new(500, "변경할 수 없는 판매상태입니다.")
        } else {
            product.stopped = stop;
            Verdict::new(200, "처리되었습니다.")
        };
        client_message(product_no, &verdict, &[])
    }

    /// `product/price/{prdNo}/{selPrc}`.
    pub(crate) fn write_price(&mut self, product_no: &str, price: &str) -> Answer {
        let Some(product) = self.products.get_mut(product_no) else {
            return no_such_product(product_no);
        };
        let Some(price) = number(price).filter(|price| (1..=MOST_WON).contains(price)) else {
            let verdict = Verdict::new(400, "판매가는 숫자여야 합니다.");
            return client_message(product_no, &verdict, &[]);
        };
        let before = product.price;
        product.price = price;
        let verdict = Verdict::new(200, "판매가가 변경되었습니다.");
        client_message(product_no, &verdict, &[("preSelPrc", before.to_string())])
    }

    /// `updateProductOption/{prdNo}`: the options of the body are all there is afterwards. One that is sent keeps its
    /// stock number; one that is not sent is gone. This is the trap for a caller who wants to write one stock.
    pub(crate) fn replace_options(&mut self, product_no: &str, body: &[u8]) -> Answer {
        if !self.products.contains_key(product_no) {
            return no_such_product(product_no);
        }
        let text = decode(body);
        let options = match read(&text).and_then(|document| read_options(&document)) {
            Ok(options) => options,
            Err(verdict) => return client_message(product_no, &verdict, &[]),
        };
        let before = match self.products.get_mut(product_no) {
            Some(product) => std::mem::take(&mut product.stocks),
            None => return no_such_product(product_no),
        };
        let mut after = Vec::new();
        for option in options {
            let kept = before
                .iter()
                .find(|stock| stock.option.as_deref() == Some(option.name.as_str()));
            let mut stock = self.new_stock(option);
            if let Some(kept) = kept {
                stock.no.clone_from(&kept.no);
            }
            after.push(stock);
        }
        let units_in = |stocks: &[Stock], no: &str| {
            let stock = stocks.iter().find(|stock| stock.no == no);
            stock.map_or(0, |stock| stock.units)
        };
        for stock in &before {
            self.changes.push(StockChange {
                item: stock.no.clone(),
                from: stock.units,
                to: units_in(&after, &stock.no),
            });
        }
        if let Some(product) = self.products.get_mut(product_no) {
            product.stocks = after;
        }
        client_message(product_no, &Verdict::new(200, "처리되었습니다."), &[])
    }

    fn new_stock(&mut self, option: NewOption) -> Stock {
        Stock {
            no: option.option_id.unwrap_or_else(|| self.next_stock_no()),
            option: Some(option.name),
            extra: option.extra_price,
            units: option.stock,
            weight: "0".to_owned(),
            seller_code: option.seller_code.unwrap_or_default(),
        }
    }

    fn next_product_no(&mut self) -> String {
        loop {
            self.product_numbers += 1;
            let no = (9_100_000_000 + self.product_numbers).to_string();
            if !self.products.contains_key(&no) {
                return no;
            }
        }
    }

    fn next_stock_no(&mut self) -> String {
        loop {
            self.stock_numbers += 1;
            let no = (44_000_000_000 + self.stock_numbers).to_string();
            // A test may have given it to a product of its own.
            if self.product_of(&no).is_none() {
                return no;
            }
        }
    }

    /// Which product and stock number a buyer means; a product with one stock number needs no option.
    fn find(&self, line: &NewLine) -> Result<(String, String), Refusal> {
        let product_no = match (&line.product_id, &line.option_id) {
            (Some(product_no), _) => product_no.clone(),
            (None, Some(stock_no)) => self
                .product_of(stock_no)
                .ok_or_else(|| Refusal::not_found("stock number", stock_no))?
                .to_owned(),
            (None, None) => return Err(Refusal::invalid("A line needs productId or optionId.")),
        };
        let product = self.product(&product_no)?;
        let stock_no = match (&line.option_id, product.stocks.as_slice()) {
            (Some(stock_no), _) => stock_of(product, stock_no)?.no.clone(),
            (None, [only]) => only.no.clone(),
            (None, _) => return Err(Refusal::invalid(format!("{product_no} has options."))),
        };
        Ok((product_no, stock_no))
    }

    fn product(&self, product_no: &str) -> Result<&Product, Refusal> {
        self.products
            .get(product_no)
            .ok_or_else(|| Refusal::not_found("product", product_no))
    }

    fn product_of(&self, stock_no: &str) -> Option<&str> {
        self.products
            .iter()
            .find(|(_, product)| stock_of(product, stock_no).is_ok())
            .map(|(no, _)| no.as_str())
    }

    fn stock_mut(&mut self, product_no: &str, stock_no: &str) -> Option<&mut Stock> {
        let stocks = &mut self.products.get_mut(product_no)?.stocks;
        stocks.iter_mut().find(|stock| stock.no == stock_no)
    }

    fn change_units(&mut self, product_no: &str, stock_no: &str, to: impl FnOnce(u64) -> u64) {
        let Some(stock) = self.stock_mut(product_no, stock_no) else {
            // An option that was replaced takes nothing back.
            return;
        };
        let from = stock.units;
        stock.units = to(from);
        let change = StockChange {
            item: stock_no.to_owned(),
            from,
            to: stock.units,
        };
        self.changes.push(change);
    }
}

/// All four fields are required, `optWght` too.
struct StockBody {
    product_no: String,
    named_no: String,
    units: u64,
    weight: String,
}

impl StockBody {
    fn read(document: &Document<'_>) -> Result<Self, Verdict> {
        let root = document.root_element();
        let field = |name: &str| {
            child_text(root, name)
                .ok_or_else(|| Verdict::new(400, format!("{name} 항목은 필수입니다.")))
        };
        Ok(Self {
            product_no: field("prdNo")?,
            named_no: field("prdStckNo")?,
            units: number(&field("stckQty")?)
                .filter(|units| *units <= MOST_UNITS)
                .ok_or_else(|| Verdict::new(400, "stckQty 항목은 숫자여야 합니다."))?,
            weight: field("optWght")?,
        })
    }
}

fn read_options(document: &Document<'_>) -> Result<Vec<NewOption>, Verdict> {
    let options: Option<Vec<_>> = document
        .descendants()
        .filter(|node| node.is_element() && node.tag_name().name() == "ProductOption")
        .map(|node| {
            Some(NewOption {
                option_id: None,
                name: child_text(node, "colValue0")?,
                extra_price: match child_text(node, "colOptPrice") {
                    Some(extra) => extra.parse().ok()?,
                    None => 0,
                },
                stock: number(&child_text(node, "colCount")?).filter(|n| *n <= MOST_UNITS)?,
                seller_code: child_text(node, "colSellerStockCd"),
            })
        })
        .collect();
    options
        .filter(|options| !options.is_empty())
        .ok_or_else(|| Verdict::new(400, "옵션 정보가 올바르지 않습니다."))
}

fn stock_of<'a>(product: &'a Product, stock_no: &str) -> Result<&'a Stock, Refusal> {
    let stock = product.stocks.iter().find(|stock| stock.no == stock_no);
    stock.ok_or_else(|| Refusal::not_found("stock number", stock_no))
}

fn stock_fields(product_no: &str, stock: &Stock) -> Vec<String> {
    let option = stock.option.clone().unwrap_or_default();
    elements(&[
        ("addPrc", stock.extra.to_string()),
        ("mixDtlOptNm", option.clone()),
        ("mixOptNm", option),
        ("mixOptNo", "1".to_owned()),
        ("prdNo", product_no.to_owned()),
        ("prdStckNo", stock.no.clone()),
        ("prdStckStatCd", stock.status().to_owned()),
        ("selQty", "0".to_owned()),
        ("stckQty", stock.units.to_string()),
        ("optWght", stock.weight.clone()),
        ("sellerStockCd", stock.seller_code.clone()),
    ])
}

fn shown(no: &str, product: &Product) -> Value {
    let options: Vec<_> = product
        .stocks
        .iter()
        .map(|stock| {
            json!({
                "optionId": stock.no,
                "name": stock.option,
                "extraPrice": stock.extra,
                "stock": stock.units,
                "status": stock.status(),
                "sellerCode": stock.seller_code,
            })
        })
        .collect();
    json!({
        "productId": no,
        "name": product.name,
        "price": product.price,
        "discount": product.discount.map_or(0, |discount| discount.of(product.price)),
        "state": product.state(),
        "sellerCode": product.seller_code,
        "options": options,
    })
}

fn no_such_product(product_no: &str) -> Answer {
    let verdict = Verdict::new(404, "해당 상품이 존재하지 않습니다.");
    client_message(product_no, &verdict, &[])
}

/// Digits and nothing else: `parse` alone would take a sign too.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
